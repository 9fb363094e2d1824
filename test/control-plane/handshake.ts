import { readFileSync } from 'node:fs';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import type { TestControlPlane } from '../harness/control-plane.ts';
import { serverName } from './envoy-client.ts';

export interface Handshake {
  readonly protocol: string | null;
  /** DER, leaf first, the root at the end. */
  readonly chain: readonly Buffer[];
}

/** Verified against the published bundle under that server name. @throws Error as TLS says it */
export async function handshake(
  controlPlane: TestControlPlane,
  options: { servername?: string; version?: 'TLSv1.2' | 'TLSv1.3' } = {},
): Promise<Handshake> {
  const { servername = serverName, version = 'TLSv1.3' } = options;
  const [host = '', port = ''] = controlPlane.address.split(':');
  const ca = readFileSync(controlPlane.bundle);
  return await new Promise((resolve, reject) => {
    const socket: TLSSocket = connect(
      {
        host,
        port: Number(port),
        ca,
        servername,
        minVersion: version,
        maxVersion: version,
        ALPNProtocols: ['h2'],
      },
      () => {
        const chain: Buffer[] = [];
        let next: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
        while (next !== undefined && !chain.some((known) => known.equals(next?.raw ?? known))) {
          chain.push(next.raw);
          next = next.issuerCertificate;
        }
        resolve({ protocol: socket.getProtocol(), chain });
        socket.destroy();
      },
    );
    socket.once('error', reject);
  });
}
