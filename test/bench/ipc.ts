/** Methods of a process over Node's IPC channel: argument and result of each. */
export type Protocol = Readonly<Record<string, readonly [argument: unknown, result: unknown]>>;

export type Handlers<P extends Protocol> = {
  readonly [M in keyof P]: (argument: P[M][0]) => P[M][1] | Promise<P[M][1]>;
};

export interface Question {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string };

/**
 * Answers the parent's questions. Several parts of a process may each serve methods of their own. The process ends
 * with its parent, and is not kept alive by the channel.
 */
export function serve<P extends Protocol>(handlers: Handlers<P>): void {
  process.on('message', ({ id, method, argument }: Question) => {
    const handler = handlers[method];
    if (handler === undefined) return;
    void (async (): Promise<void> => {
      let answer: Answer;
      try {
        answer = { id, result: await handler(argument) };
      } catch (error) {
        answer = { id, error: error instanceof Error ? error.message : String(error) };
      }
      process.send?.(answer);
    })();
  });
  process.once('disconnect', () => process.exit());
  process.channel?.unref();
}
