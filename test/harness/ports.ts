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

let next = 0;

/** A loopback subnet of its own for each test process: every pod has an address, and none meets another test's. */
export function loopbackSubnet(): string {
  next += 1;
  return `127.${100 + (process.pid % 100)}.${next % 250}`;
}
