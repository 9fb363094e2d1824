import { createServer } from 'node:net';

/** A port that was free a moment ago. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('no port'));
      });
    });
  });
}

const subnetsPerProcess = 8;
let next = 0;

/**
 * A loopback subnet (`127.a.b`) of its own: every pod has an address, and none meets that of another test. Up to
 * eight for a process, before the first is given again.
 */
export function loopbackSubnet(): string {
  const slot = process.pid % (100 * 32);
  const subnet = `127.${100 + Math.floor(slot / 32)}.${(slot % 32) * subnetsPerProcess + (next % subnetsPerProcess)}`;
  next += 1;
  return subnet;
}
