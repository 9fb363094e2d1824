import { at, type ApiClient } from './api-client.ts';

export interface TokenOptions {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** The pod that it is bound to, as a projected token is. Absent: bound to none. */
  readonly pod?: string;
  /** Absent: that of the API server itself. */
  readonly audiences?: readonly string[];
  /** The API server takes none below 600. Absent: an hour. */
  readonly ttlSeconds?: number;
}

/** What the API server says of a token. */
export interface Review {
  readonly authenticated: boolean;
  readonly audiences: readonly string[];
  readonly error?: string;
  readonly user?: {
    readonly username: string;
    readonly uid: string;
    readonly groups: readonly string[];
    readonly extra: Readonly<Record<string, readonly string[]>>;
  };
}

/** A token of the service account, by TokenRequest: as a kubelet asks for the one that it projects into a pod. */
export async function requestToken(client: ApiClient, options: TokenOptions): Promise<string> {
  const { namespace, serviceAccount, pod, audiences, ttlSeconds = 3_600 } = options;
  const uid = pod === undefined ? undefined : (await client.get(at('pods', namespace, pod))).metadata.uid;
  const { status } = await client.create<{ status: { token: string } }>(
    at('serviceaccounts', namespace, serviceAccount, 'token'),
    {
      spec: {
        audiences,
        expirationSeconds: ttlSeconds,
        ...(pod === undefined ? {} : { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod, uid } }),
      },
    },
  );
  return status.token;
}

/** A TokenReview. */
export async function reviewToken(
  client: ApiClient,
  token: string,
  audiences?: readonly string[],
): Promise<Review> {
  const { status } = await client.create<{ status: Partial<Review> }>(
    at('authentication.k8s.io/v1/tokenreviews'),
    { spec: { token, audiences } },
  );
  return { authenticated: false, audiences: [], ...status };
}
