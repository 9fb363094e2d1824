import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hasCode, removeLeftovers, writeWhole } from '../files/index.ts';
import { TrustBundle, TrustDomain } from '../identity/index.ts';
import { FederationError, reasonOf } from './errors.ts';
import type { FederatedDomain } from './types.ts';

export interface KeptBundle {
  /** Of what the operator had written down: with another origin it counts no more. */
  readonly origin: string;
  readonly fetchedAtMs: number | undefined;
  readonly bundle: TrustBundle;
}

/** What a restart must know. */
export interface KeptFederation {
  readonly bundles: ReadonlyMap<string, KeptBundle>;
  /** Trust domains that were federated, and are no more. */
  readonly former: ReadonlySet<string>;
}

/** Stands for all of it: where the bundle comes from, who may give it, and what it began with. */
export function originOf({ url, profile, bootstrapBundle }: FederatedDomain): string {
  return createHash('sha256')
    .update(JSON.stringify([url, profile, bootstrapBundle]))
    .digest('hex');
}

/**
 * Where there is no file there is nothing.
 * @throws FederationError `state-unusable`
 */
export async function readState(file: string): Promise<KeptFederation> {
  try {
    await removeLeftovers(file);
    return parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { bundles: new Map(), former: new Set() };
    throw new FederationError(
      'state-unusable',
      `The bundles of federated trust domains in ${file} cannot be used (${error instanceof FederationError ? error.message : reasonOf(error)}): they are fetched anew, beginning with the bootstrap bundles.`,
      { cause: error },
    );
  }
}

/** @throws the operating system's error as it is */
export async function writeState(file: string, { bundles, former }: KeptFederation): Promise<void> {
  const content = {
    version: 1,
    bundles: Object.fromEntries(
      [...bundles].map(([name, { origin, fetchedAtMs, bundle }]) => [
        name,
        { origin, fetchedAtMs, bundle: JSON.stringify(bundle.toJSON()) },
      ]),
    ),
    former: [...former].toSorted(),
  };
  await writeWhole(file, `${JSON.stringify(content)}\n`);
}

function parse(value: unknown): KeptFederation {
  const { version, bundles, former } = fieldsOf(value);
  if (version !== 1 || !Array.isArray(former)) throw malformed();
  const kept = new Map<string, KeptBundle>();
  for (const [name, entry] of Object.entries(fieldsOf(bundles))) {
    const { origin, fetchedAtMs, bundle } = fieldsOf(entry);
    if (typeof origin !== 'string' || typeof bundle !== 'string') throw malformed();
    if (fetchedAtMs !== undefined && typeof fetchedAtMs !== 'number') throw malformed();
    kept.set(name, { origin, fetchedAtMs, bundle: TrustBundle.parse(TrustDomain.parse(name), bundle) });
  }
  return { bundles: kept, former: new Set(former.map(String)) };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed();
  return value as Readonly<Record<string, unknown>>;
}

function malformed(): FederationError {
  return new FederationError('state-unusable', 'it is not what was written');
}
