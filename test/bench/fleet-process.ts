/** The load's own process: a thousand sidecars, each with its own connection and token. */
import { once } from 'node:events';
import { connect, createSecureContext } from 'node:tls';
import { monotonicMs } from './clock.ts';
import type { Arrived, FleetProtocol, FleetTarget, Opened } from './fleet.ts';
import { serve } from './ipc.ts';
import { Returning } from './returning.ts';
import { Sidecar } from './sidecar.ts';
import { DeltaMessages } from './xds-messages.ts';

interface Awaited {
  readonly text: Buffer;
  readonly atMs: Map<number, number>;
  readonly all: PromiseWithResolvers<Arrived>;
}

const messages = new DeltaMessages();
let fleet: Sidecar[] = [];
let awaited: Awaited | undefined;
let failure: Error | undefined;
let returning: Returning | undefined;

async function open({ port, fallbackPort, serverName, authorities, sidecars }: FleetTarget): Promise<Opened> {
  const target = { port, serverName, context: createSecureContext({ ca: authorities }) };
  returning =
    fallbackPort === undefined
      ? undefined
      : new Returning(sidecars, { ...target, port: fallbackPort }, messages);
  const completeMs: number[] = [];
  const first: Buffer[] = [];
  failure = undefined;
  const startedMs = monotonicMs();
  await new Promise<void>((resolve, reject) => {
    fleet = sidecars.map(
      (identity, at) =>
        new Sidecar(identity, target, messages, {
          message: (bytes, atMs): void => {
            if (at === 0 && completeMs.length < sidecars.length) first.push(Buffer.from(bytes));
            noteArrival(at, bytes, atMs);
          },
          complete: (atMs): void => {
            completeMs.push(atMs);
            if (completeMs.length === sidecars.length) resolve();
          },
          failed: (why): void => {
            if (returning !== undefined && completeMs.length === sidecars.length) {
              returning.lost(identity);
              return;
            }
            failure = new Error(`${identity.name}: ${why}; ${completeMs.length} held everything by then`);
            reject(failure);
            awaited?.all.reject(failure);
          },
        }),
    );
  });
  return { startedMs, completeMs, messages: first };
}

function noteArrival(at: number, bytes: Buffer, atMs: number): void {
  if (awaited === undefined || awaited.atMs.has(at) || !bytes.includes(awaited.text)) return;
  awaited.atMs.set(at, atMs);
  if (awaited.atMs.size === fleet.length) {
    const inOrder = [...awaited.atMs].toSorted(([a], [b]) => a - b);
    awaited.all.resolve({ atMs: inOrder.map(([, arrivedMs]) => arrivedMs), message: Buffer.from(bytes) });
  }
}

async function handshake(
  port: number,
  serverName: string,
  authorities: string,
  count: number,
): Promise<void> {
  const secureContext = createSecureContext({ ca: authorities });
  const sockets = Array.from({ length: count }, () =>
    connect({ host: '127.0.0.1', port, servername: serverName, secureContext, ALPNProtocols: ['h2'] }),
  );
  await Promise.all(sockets.map((socket) => once(socket, 'secureConnect')));
  for (const socket of sockets) socket.destroy();
}

serve<FleetProtocol>({
  open,
  expect: (text) => {
    if (failure !== undefined) throw failure;
    awaited = { text: Buffer.from(text), atMs: new Map(), all: Promise.withResolvers() };
    // Whoever asks whether it arrived hears of the failure; until then it is no unhandled one.
    awaited.all.promise.catch(() => {});
    return undefined;
  },
  arrived: async () => {
    if (awaited === undefined) throw new Error('nothing is expected');
    return await awaited.all.promise;
  },
  returned: async () => {
    if (returning === undefined) throw new Error('there is no fallback');
    return await returning.all;
  },
  close: () => {
    returning?.close();
    returning = undefined;
    for (const sidecar of fleet) sidecar.close();
    fleet = [];
    return undefined;
  },
  handshakes: async ({ port, serverName, authorities, count }) => {
    await handshake(port, serverName, authorities, count);
    return undefined;
  },
});
// Nothing else keeps this process alive while no sidecar is open.
setInterval(() => {}, 60_000);
