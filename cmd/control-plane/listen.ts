import { isIP } from 'node:net';
import type { ControlPlaneConfig, ListenAddress } from './config.ts';

/** What the certificate of who listens there says beside its DNS names. */
export function ipAddressesOf({ host }: ListenAddress): readonly string[] {
  return isIP(host) === 0 ? [] : [host];
}

/** Of every certificate that the control plane issues to itself. */
export function ownIpAddresses({
  listen,
  bundleEndpoint,
}: Pick<ControlPlaneConfig, 'listen' | 'bundleEndpoint'>): readonly string[] {
  const ownEndpoint = bundleEndpoint?.web === undefined ? bundleEndpoint?.listen : undefined;
  return [listen, ...(ownEndpoint === undefined ? [] : [ownEndpoint])].flatMap(ipAddressesOf);
}

/** Says which flag to change where an address cannot be had. */
export async function explainListen<T>(
  flag: string,
  address: ListenAddress,
  open: () => Promise<T>,
): Promise<T> {
  try {
    return await open();
  } catch (error) {
    const where = `${address.host}:${address.port}`;
    const detail = error instanceof Error ? error.message : String(error);
    if (detail.includes('EADDRINUSE') || detail.includes('address already in use')) {
      throw new Error(`${flag} ${where} is in use by another process: choose another port`, { cause: error });
    }
    throw new Error(`${flag} ${where} cannot be opened: ${detail}`, { cause: error });
  }
}
