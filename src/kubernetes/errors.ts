export type ApiServerErrorCode =
  /** The kubeconfig, or the files of the pod, do not say how to reach it. */
  | 'CONFIGURATION'
  /** No connection, or it broke. */
  | 'UNREACHABLE'
  /** It did not answer, or went silent, within the time. */
  | 'TIMED_OUT'
  /** It answered with another status than 2xx: see `status` and `reason`. */
  | 'REFUSED'
  /** It answered with what is no JSON, or not the JSON that was asked for. */
  | 'MALFORMED'
  /** Its answer, or one event, is larger than what is read. */
  | 'TOO_LARGE';

/** What an HTTP status of the API server says beyond the number (`meta/v1` Status). */
export interface RefusedStatus {
  readonly status: number;
  /** `Expired`, `Forbidden` ...; empty where it says none. */
  readonly reason: string;
  /** `ResourceVersionTooLarge` ...: what `details.causes` lists. */
  readonly causes: readonly string[];
  /** What it asks to be waited for, in milliseconds; undefined: nothing. */
  readonly retryAfterMs: number | undefined;
}

/** Why a request to the API server had no result. Messages name method and path, never a credential or a body. */
export class ApiServerError extends Error {
  override readonly name = 'ApiServerError';
  readonly code: ApiServerErrorCode;
  /** Of REFUSED alone. */
  readonly refused: RefusedStatus | undefined;

  constructor(
    code: ApiServerErrorCode,
    message: string,
    options: ErrorOptions & { readonly refused?: RefusedStatus } = {},
  ) {
    super(message, options);
    this.code = code;
    this.refused = options.refused;
  }

  /** Whether the API server could not be asked at all: as opposed to an answer that is no. */
  get away(): boolean {
    const status = this.refused?.status;
    return (
      this.code === 'UNREACHABLE' ||
      this.code === 'TIMED_OUT' ||
      (status !== undefined && (status === 429 || status >= 500))
    );
  }
}

/** `error` as one of ours: whatever else is thrown on the way to the API server means that it was not reached. */
export function asApiServerError(error: unknown, doing: string): ApiServerError {
  if (error instanceof ApiServerError) return error;
  const timedOut = error instanceof Error && error.name === 'TimeoutError';
  const why = error instanceof Error ? error.message : String(error);
  return new ApiServerError(timedOut ? 'TIMED_OUT' : 'UNREACHABLE', `${doing}: ${why}`, { cause: error });
}
