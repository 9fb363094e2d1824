import { X509Certificate } from 'node:crypto';
import { TrustBundle, TrustDomain } from '../identity/index.ts';
import { crossSign } from './cross.ts';
import { AuthorityError } from './errors.ts';
import type { StoredAuthority, StoredRoot } from './key-store.ts';
import { DEFAULT_ROOT_TTL_MS, refuseBadTtl } from './options.ts';
import { createRoot, describeRoot, openRoot, type RootDescription } from './root.ts';

export interface RecoveryOptions {
  /** ms since the epoch. */
  readonly nowMs: number;
  /** Of a root that is made. Default 10 years. */
  readonly rootTtlMs?: number;
  /** Though the root is good: it is known to somebody else, and trusted no more from here on. */
  readonly force?: boolean;
  /** Names the store in errors. */
  readonly where: string;
}

export interface Recovery {
  readonly state: StoredAuthority;
  readonly former: RootDescription;
  readonly signing: RootDescription;
  /** `next`: a rotation had prepared it, so it is trusted already. `new`: everybody has to be given it. */
  readonly root: 'next' | 'new';
}

/**
 * The state that begins anew with another root, where the one that signs has ended: of the same trust domain, its
 * bundle numbered on. The former root vouches for the key of the new one, so that replicas which run take it over.
 * @throws AuthorityError `recovery-refused` where that root is good still, or it is not ours; `store-corrupted`
 */
export async function recovered(stored: StoredAuthority, options: RecoveryOptions): Promise<Recovery> {
  const { nowMs, rootTtlMs = DEFAULT_ROOT_TTL_MS, force = false, where } = options;
  refuseBadTtl(rootTtlMs, 'The life of a root', 'options-invalid');
  const former = describeRoot(stored.root);
  refuseGood(former, nowMs, force, where);
  if (stored.root.privateKeyPem === undefined) {
    throw new AuthorityError(
      'recovery-refused',
      `An operator's CA signs below the root in ${where}: put a valid one in its place, and start the control plane. Where the former root has ended, the new one signs at once.`,
    );
  }
  const trustDomain = TrustDomain.parse(stored.trustDomain);
  const prepared = force ? undefined : preparedRoot(stored, nowMs);
  const root = prepared ?? (await createRoot(trustDomain, nowMs, rootTtlMs));
  const signing = describeRoot(root);
  const cross = prepared
    ? undefined
    : await crossSign(
        { certificate: root.certificate, fingerprint: signing.fingerprint, below: 1 },
        openRoot(stored.root, where),
        trustDomain.id.uri,
      );
  const replaced = [stored.root, stored.rotation?.other].map((one) => one?.certificate);
  const others = stored.bundle.x509Authorities.filter(
    (der) => isGood(der, nowMs) && !replaced.some((one) => one?.equals(der) === true),
  );
  const bundle = TrustBundle.of({ trustDomain, ...stored.bundle }).withAuthorities([
    root.certificate,
    ...others,
  ]);
  const crosses = cross === undefined ? stored.crosses : [cross, ...(stored.crosses ?? [])];
  return {
    state: { trustDomain: stored.trustDomain, root, bundle, ...(crosses && { crosses }) },
    former,
    signing,
    root: prepared ? 'next' : 'new',
  };
}

function refuseGood(root: RootDescription, nowMs: number, force: boolean, where: string): void {
  if (force || nowMs >= root.notAfterMs) return;
  const ends = new Date(root.notAfterMs).toISOString();
  throw new AuthorityError(
    'recovery-refused',
    `The root in ${where} is good until ${ends}, and it is ${new Date(nowMs).toISOString()}: replace it with countersign rotate, which costs no request. Only where its key is known to somebody else, use --force: every Envoy is cut off until it is given the new bundle.`,
  );
}

/** The other root of a rotation, where it can sign: whoever was connected trusts it. */
function preparedRoot({ rotation }: StoredAuthority, nowMs: number): StoredRoot | undefined {
  const other = rotation?.other;
  return other?.privateKeyPem !== undefined && isGood(other.certificate, nowMs) ? other : undefined;
}

function isGood(certificate: Buffer, nowMs: number): boolean {
  return new X509Certificate(certificate).validToDate.getTime() > nowMs;
}
