/** Versions are numbers that grow, for each resource (Kubernetes 1.35 and later say so, and all did so). */
export function isOlder(version: string, than: string | undefined): boolean {
  if (than === undefined || !/^\d+$/u.test(version) || !/^\d+$/u.test(than)) return false;
  return BigInt(version) < BigInt(than);
}
