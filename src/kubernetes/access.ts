import { existsSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { ApiServerError } from './errors.ts';

/** Of a connection: what the API server is known by, and what we are, where that is a certificate. */
export interface TlsMaterial {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
}

/** Where the API server is and who we are there. */
export interface Access {
  /** Without a slash at its end. */
  readonly server: string;
  /** That the context, or the service account, is of; undefined: none is named. */
  readonly namespace: string | undefined;
  credentials(): Promise<{ readonly tls: TlsMaterial; readonly headers: Readonly<Record<string, string>> }>;
  /** Reads everything anew at the next use: the API server did not believe what was known. */
  forget(): void;
}

/** The files that Kubernetes mounts into each pod. */
const IN_CLUSTER_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
/** How long credentials are used without looking at their files: tokens and certificates are replaced in place. */
const BELIEVED_MS = 10_000;

/** Whether this process runs in a pod that has a service account. */
export function isInCluster(env: NodeJS.ProcessEnv = process.env): boolean {
  return env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(IN_CLUSTER_TOKEN);
}

/**
 * The current context of a kubeconfig file, or the service account of the own pod. client-node reads both, and runs
 * the credential plugins that a kubeconfig may name.
 *
 * @param file undefined: in cluster
 * @param nowMs a clock that only goes forward
 * @throws ApiServerError CONFIGURATION
 */
export function openAccess(file: string | undefined, nowMs: () => number): Access {
  let config = load(file);
  let known: { readonly at: number; readonly value: Awaited<ReturnType<Access['credentials']>> } | undefined;
  return {
    server: serverOf(config, file),
    namespace: namespaceOf(config),
    credentials: async () => {
      if (known !== undefined && nowMs() - known.at < BELIEVED_MS) return known.value;
      const options: RequestOptions & { servername?: string } = {};
      await config.applyToHTTPSOptions(options);
      known = { at: nowMs(), value: { tls: tlsOf(options), headers: headersOf(options) } };
      return known.value;
    },
    forget: () => {
      known = undefined;
      // A fresh one: client-node believes the token that it has read for a minute.
      config = load(file);
    },
  };
}

function load(file: string | undefined): KubeConfig {
  const config = new KubeConfig();
  try {
    if (file === undefined) config.loadFromCluster();
    else config.loadFromFile(file);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ApiServerError('CONFIGURATION', `${nameOf(file)} cannot be read: ${why}`, { cause: error });
  }
  return config;
}

function serverOf(config: KubeConfig, file: string | undefined): string {
  const fault = (message: string): ApiServerError =>
    new ApiServerError('CONFIGURATION', `${nameOf(file)}: ${message}`);
  const cluster = config.getCurrentCluster();
  if (cluster === null || config.getCurrentUser() === null) {
    throw fault('its current context names no cluster and user that it defines: set current-context');
  }
  if (!cluster.server.startsWith('https://')) {
    throw fault(`the server is ${cluster.server}: only https:// proves whom we talk to`);
  }
  if (cluster.skipTLSVerify) {
    throw fault('insecure-skip-tls-verify is set: name the certificate authority instead');
  }
  if (cluster.proxyUrl !== undefined && cluster.proxyUrl !== null && cluster.proxyUrl !== '') {
    throw fault('proxy-url is set: the API server must be reachable without a proxy');
  }
  return cluster.server.replace(/\/+$/u, '');
}

function namespaceOf(config: KubeConfig): string | undefined {
  const namespace = config.getContextObject(config.getCurrentContext())?.namespace;
  return namespace === '' ? undefined : namespace;
}

function nameOf(file: string | undefined): string {
  return file === undefined ? "the pod's service account" : `the kubeconfig ${file}`;
}

function tlsOf({ ca, cert, key, servername }: RequestOptions & { servername?: string }): TlsMaterial {
  return {
    ...(isBytes(ca) && { ca }),
    ...(isBytes(cert) && { cert }),
    ...(isBytes(key) && { key }),
    ...(servername !== undefined && { servername }),
  };
}

function headersOf({ headers, auth }: RequestOptions): Record<string, string> {
  const all: [string, string][] = [];
  if (headers !== undefined && !Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers)) {
      // A token file may end in a newline, which no header may hold.
      if (typeof value === 'string') all.push([name.toLowerCase(), value.trim()]);
    }
  }
  if (typeof auth === 'string') all.push(['authorization', `Basic ${Buffer.from(auth).toString('base64')}`]);
  return Object.fromEntries(all);
}

function isBytes(value: unknown): value is string | Buffer {
  return typeof value === 'string' || Buffer.isBuffer(value);
}
