import { createHash } from 'node:crypto';

/**
 * The version of a type as one client sees it: equal on every replica and after every restart where its
 * resources are equal. One resource: that one's own version, which people can find again elsewhere.
 */
export function typeVersion(resources: ReadonlyMap<string, string>): string {
  if (resources.size === 1) for (const version of resources.values()) return version;
  const names = [...resources.keys()].sort();
  const hash = createHash('sha256');
  for (const name of names) hash.update(`${name}\n${resources.get(name)}\n`);
  return hash.digest('hex').slice(0, 16);
}
