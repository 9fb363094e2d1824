import { hash, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { parseStored, readCertificates, type RotationStep } from '../../src/authority/index.ts';
import { busy, cart, loadsOf, rotationOf, startCartMesh, web } from '../envoy/cart-mesh.ts';
import type { TestMesh } from '../envoy/mesh.ts';
import { waitFor } from '../harness/wait.ts';
import { heldBy, rootOf } from './held.ts';
import { isAfter, isSame, keptOf, type Kept } from './kept.ts';
import { someMoment, untilMoment } from './moment.ts';
import { Choices } from './random.ts';

const pods = [cart, web, busy] as const;

/** What came of the kills, so that a run which proves little shows as one. */
export interface Killed {
  /** The answer was there before: its step must be kept. */
  answered: number;
  /** The answer was cut off, and the step is kept. */
  cutAndKept: number;
  /** It is not. */
  cutAndLost: number;
  /** The step was refused. */
  refused: number;
  readonly taken: Record<RotationStep, number>;
  readonly requests: number;
}

/** Light: it is to notice what fails, not to fill the machine. */
const PAUSE_MS = 50;
/** More than Envoy waits. */
const SPARE_MS = 35_000;

/**
 * A mesh of real Envoys under load, whose control plane is killed with SIGKILL so many times while its root rotates
 * to and fro, at moments that follow from the seed. Fails with the kill, its step and its moment.
 */
export async function killWhileRotating(seed: number, kills: number): Promise<Killed> {
  const choices = new Choices(seed);
  const mesh = await startCartMesh('--svid-ttl', '90s');
  const loads = loadsOf(mesh, PAUSE_MS);
  const taken = { prepare: 0, activate: 0, retire: 0, abort: 0 };
  const killed = { answered: 0, cutAndKept: 0, cutAndLost: 0, refused: 0, taken };
  const seen = new Set<string>();
  try {
    let before = readKept(mesh);
    for (let kill = 1; kill <= kills; kill += 1) {
      for (const root of before.bundle) seen.add(root);
      await untilFresh(mesh);
      const step = someStep(choices, before);
      if (choices.next() < (step === 'retire' ? 0.3 : 0.8)) await untilFree(mesh, step);
      const moment = someMoment(choices);
      const said = mesh.controlPlane.tryToAsk(`rotate ${step}`);
      await untilMoment(moment, mesh.controlPlane.dataDir, said);
      await mesh.controlPlane.killHard();
      const { code, stderr } = await said;
      const about = `kill ${kill} of ${kills} (KILL_SEED=${seed}): ${step} from ${before.step}, ${JSON.stringify(moment)}, exit ${code} ${stderr.trim()}`;
      try {
        const after = readKept(mesh);
        const isTaken = isAfter(step, before, after, seen);
        expect(isTaken || isSame(before, after), 'the state is the one before or the one after').toBe(true);
        if (code === 0) expect(isTaken, 'what was answered is kept').toBe(true);
        expect(after.sequence, 'the number of the bundle').toBeGreaterThanOrEqual(before.sequence);
        if (after.sequence === before.sequence) expect(after.bundle).toEqual(before.bundle);
        await expectTrust(mesh, after);
        await mesh.controlPlane.restart();
        expect(isSame(after, readKept(mesh)), 'a start changes nothing').toBe(true);
        await expectPublished(mesh, after);
        await expectTrust(mesh, after);
        expect(loads.map(({ failed }) => failed)).toEqual(loads.map(() => 0));
        if (code === 0) expectAudited(mesh, step, after);
        if (isTaken) taken[step] += 1;
        if (code === 0) killed.answered += 1;
        else if (/: cannot |Cannot /u.test(stderr)) killed.refused += 1;
        else if (isTaken) killed.cutAndKept += 1;
        else killed.cutAndLost += 1;
        before = after;
        process.stderr.write(`${new Date().toISOString()} ${about}\n`);
      } catch (error) {
        throw new Error(`${about}\n${await standing(mesh)}`, { cause: error });
      }
    }
    await waitFor(
      'every Envoy to be back',
      async () =>
        new Set((await mesh.connected()).map(({ pod }) => pod)).size === pods.length ? true : undefined,
      { timeoutMs: 60_000, everyMs: 500 },
    );
    expect(leftovers(mesh), 'no file of a write that was cut off is left').toEqual([]);
  } finally {
    await Promise.all(loads.map((load) => load.stop()));
    await mesh.stop();
  }
  expect(loads.map(({ failed }) => failed)).toEqual(loads.map(() => 0));
  return { ...killed, requests: loads.reduce((sum, { total }) => sum + total, 0) };
}

function someStep(choices: Choices, { step }: Kept): RotationStep {
  if (step === 'steady') return 'prepare';
  const [forth, share] = step === 'prepared' ? (['activate', 4] as const) : (['retire', 3] as const);
  return choices.of([
    [forth, share],
    ['abort', 1],
  ]);
}

/**
 * Envoy waits for up to 30 s before it tries again, and SVIDs are short here. A control plane that is away for most of
 * an SVID's life is another test; in this one no SVID ends for that.
 */
async function untilFresh(mesh: TestMesh): Promise<void> {
  await waitFor(
    'SVIDs that outlive the next kill',
    async () => {
      const held = await Promise.all(pods.map(async (pod) => await heldBy(mesh.envoy(pod))));
      const ends = held.map(({ chain }) => chain[0]?.validToDate.getTime() ?? 0);
      if (ends.some((endMs) => endMs < Date.now())) throw new Error(`an SVID has ended: ${ends.join()}`);
      return ends.every((endMs) => endMs > Date.now() + SPARE_MS) ? true : undefined;
    },
    { timeoutMs: 60_000, everyMs: 250 },
  );
}

/** Nobody lags any more. An Envoy that is away does not count: it may be on its way back. */
async function untilFree(mesh: TestMesh, step: RotationStep): Promise<void> {
  await waitFor(
    `the way to be free for ${step}`,
    async () => {
      const { code, stderr } = await mesh.controlPlane.tryToAsk(`rotate ${step}`, '--dry-run');
      if (code !== 0 && code !== 1 && !/cannot|until/iu.test(stderr)) throw new Error(stderr);
      // Refused by the time that is left: nothing to wait for in a test of kills.
      return code === 1 ? undefined : true;
    },
    { timeoutMs: 120_000, everyMs: 500 },
  );
}

function readKept({ controlPlane }: TestMesh): Kept {
  const file = join(controlPlane.dataDir, 'authority', 'authority.json');
  return keptOf(parseStored(readFileSync(file, 'utf8'), file));
}

/** What the files and the operator's own question say is what is kept. */
async function expectPublished(mesh: TestMesh, kept: Kept): Promise<void> {
  const { controlPlane } = mesh;
  const pem = readCertificates(readFileSync(controlPlane.bundle, 'utf8'), 'bundle.pem');
  expect(pem.map((der) => hash('sha256', der)).toSorted()).toEqual(kept.bundle.toSorted());
  const json = JSON.parse(readFileSync(join(controlPlane.dataDir, 'bundle.json'), 'utf8')) as {
    spiffe_sequence: number;
    keys: readonly unknown[];
  };
  expect([json.spiffe_sequence, json.keys.length]).toEqual([kept.sequence, kept.bundle.length]);
  const said = await rotationOf(mesh);
  expect([said.state, said.signing?.fingerprint, said.other?.fingerprint]).toEqual([
    kept.step,
    kept.signing,
    kept.other,
  ]);
}

/** Whatever SVID an Envoy runs, its root is in the bundle that is kept, and in that of every other Envoy. */
async function expectTrust(mesh: TestMesh, kept: Kept): Promise<void> {
  const published = readCertificates(readFileSync(mesh.controlPlane.bundle, 'utf8'), 'bundle.pem');
  const known = new Map<string, X509Certificate>();
  const held = await Promise.all(pods.map(async (pod) => await heldBy(mesh.envoy(pod))));
  for (const der of [
    ...published,
    ...kept.roots,
    ...held.flatMap(({ roots }) => roots.map(({ raw }) => raw)),
  ])
    known.set(hash('sha256', der), new X509Certificate(der));
  for (const one of held) {
    expect(one.chain.length, `${one.pod} has an SVID`).toBeGreaterThan(1);
    const root = rootOf(one, [...known.values()]);
    expect(kept.bundle, `the bundle has the root of ${one.pod}`).toContain(root);
    expect(published.map((der) => hash('sha256', der))).toContain(root);
    for (const other of held) {
      const trusted = other.roots.map(({ raw }) => hash('sha256', raw));
      expect(trusted, `${other.pod} trusts the root of ${one.pod}`).toContain(root);
    }
  }
}

/** For whoever has to find out why: what each Envoy holds, and what went wrong there last. */
async function standing(mesh: TestMesh): Promise<string> {
  const lines = pods.map(async (pod) => {
    const { chain, roots } = await heldBy(mesh.envoy(pod));
    const faults = mesh
      .envoy(pod)
      .accessLog()
      .filter(
        ({ tls_failure: tls, upstream_failure: upstream, details, status = 200 }) =>
          [tls, upstream].some((text) => (text ?? '') !== '') || status >= 400 || /rbac/u.test(details ?? ''),
      )
      .slice(-3);
    const [leaf] = chain;
    const ends = `${leaf?.validFrom} to ${leaf?.validTo}, ${roots.length} roots`;
    return `${pod}: ${ends} ${JSON.stringify(faults)}\n${mesh.envoy(pod).log.slice(-1_500)}`;
  });
  return [new Date().toISOString(), ...(await Promise.all(lines))].join('\n');
}

function expectAudited({ controlPlane }: TestMesh, step: RotationStep, { signing }: Kept): void {
  const last = controlPlane.audit().findLast(({ event }) => event === 'root.rotated');
  expect(last).toMatchObject({ step, signing });
}

function leftovers({ controlPlane: { dataDir } }: TestMesh): readonly string[] {
  return [dataDir, join(dataDir, 'authority')]
    .flatMap((folder) => readdirSync(folder))
    .filter((name) => name.endsWith('.tmp'));
}
