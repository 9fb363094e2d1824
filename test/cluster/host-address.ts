import { networkInterfaces } from 'node:os';

/** An IPv4 address of this machine that EndpointSlices take: they take no loopback one. */
export function hostAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((them) => them ?? []);
  const found = addresses.find(({ family, internal }) => family === 'IPv4' && !internal);
  if (found === undefined) {
    throw new Error('this machine has only loopback addresses: a webhook behind a service needs another one');
  }
  return found.address;
}
