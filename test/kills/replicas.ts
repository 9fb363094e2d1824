import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { parseStored, type RotationStep } from '../../src/authority/index.ts';
import type { RotateRootResponse } from '../../src/operator/index.ts';
import { at } from '../cluster/api-client.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { waitFor } from '../harness/wait.ts';
import { home, KubernetesWorld } from '../kubernetes/world.ts';
import { isAfter, isSame, keptOf, type Kept } from './kept.ts';
import { Choices } from './random.ts';

const secret = at('secrets', home, 'countersign-root');

/**
 * Two replicas over a real API server, which keeps their root in a Secret. A step is asked of one of them, and one of
 * them is killed meanwhile: there is one root, with its key, and both follow it.
 */
export async function killReplicas(seed: number, kills: number): Promise<Record<RotationStep, number>> {
  const choices = new Choices(seed);
  const world = await KubernetesWorld.start();
  const replicas: TestControlPlane[] = [];
  const taken = { prepare: 0, activate: 0, retire: 0, abort: 0 };
  try {
    for (const name of ['a', 'b']) {
      const dataDir = join(world.cluster.folder, `data-${name}`);
      replicas.push(await TestControlPlane.start({ kubeconfig: world.kubeconfig, dataDir }));
    }
    const seen = new Set<string>();
    let before = await readSecret(world);
    for (let kill = 1; kill <= kills; kill += 1) {
      for (const root of before.bundle) seen.add(root);
      const step = someStep(choices, before);
      const [asked, victim] = [replicas[choices.below(2)], replicas[choices.below(2)]];
      if (asked === undefined || victim === undefined) throw new RangeError('there are two');
      const ms = choices.below(1_500);
      // Nobody is connected: what a step waits for is another test's.
      const force = step === 'prepare' ? [] : ['--force'];
      const said = asked.tryToAsk(`rotate ${step}`, ...force);
      await sleep(ms);
      await victim.killHard();
      const { code, stderr } = await said;
      const about = `kill ${kill} of ${kills} (KILL_SEED=${seed}): ${step} from ${before.step} after ${ms} ms, ${asked === victim ? 'of the one that was asked' : 'of the other'}, exit ${code} ${stderr.trim()}`;
      try {
        const after = await readSecret(world);
        const isTaken = isAfter(step, before, after, seen);
        expect(isTaken || isSame(before, after), 'the state is the one before or the one after').toBe(true);
        if (code === 0) expect(isTaken, 'what was answered is kept').toBe(true);
        expect(after.sequence).toBeGreaterThanOrEqual(before.sequence);
        await victim.restart();
        for (const replica of replicas) await follows(replica, after);
        expect(isSame(after, await readSecret(world)), 'a start changes nothing').toBe(true);
        if (isTaken) taken[step] += 1;
        before = after;
        process.stderr.write(`${about}\n`);
      } catch (error) {
        throw new Error(about, { cause: error });
      }
    }
  } finally {
    for (const replica of replicas) await replica.stop();
    await world.dispose();
  }
  return taken;
}

async function readSecret(world: KubernetesWorld): Promise<Kept> {
  const found = await world.cluster.operator.get(secret);
  const [text] = Object.values(found['data'] as Record<string, string>);
  return keptOf(parseStored(Buffer.from(text ?? '', 'base64').toString('utf8'), 'the Secret'));
}

async function follows(replica: TestControlPlane, kept: Kept): Promise<void> {
  await waitFor('the replica to follow', async () => {
    const said = JSON.parse(await replica.ask('rotate status', '-o', 'json')) as RotateRootResponse;
    const is = [said.state, said.signing?.fingerprint, said.other?.fingerprint];
    return JSON.stringify(is) === JSON.stringify([kept.step, kept.signing, kept.other]) ? true : undefined;
  });
}

function someStep(choices: Choices, { step }: Kept): RotationStep {
  if (step === 'steady') return 'prepare';
  return choices.of([
    [step === 'prepared' ? 'activate' : 'retire', 3],
    ['abort', 1],
  ] as const);
}
