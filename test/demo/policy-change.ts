import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Load } from '../harness/http.ts';
import { waitFor } from '../harness/wait.ts';
import type { RunningMesh } from './mesh.ts';
import { heading, say, type Checks } from './screen.ts';
import { memberNamed, outboundPort } from './shop.ts';

/** Takes `GET` from web's rule and gives it back, while one connection asks without a pause. */
export async function showPolicyChange(mesh: RunningMesh, checks: Checks): Promise<void> {
  heading('A policy changes, on an open connection');
  const file = join(mesh.manifests, 'policies/cart.yaml');
  const before = readFileSync(file, 'utf8');
  const web = memberNamed('web');
  const firstAt = new Map<number, number>();
  const load = new Load(
    { host: web.ip, port: outboundPort(web, 'cart'), path: '/items' },
    ({ status }, atMs) => {
      if (!firstAt.has(status)) firstAt.set(status, atMs);
    },
  );
  const change = async (text: string, awaited: number): Promise<number> => {
    firstAt.delete(awaited);
    const changedAt = performance.now();
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
    return (await waitFor(`a ${awaited}`, () => firstAt.get(awaited), { everyMs: 1 })) - changedAt;
  };
  try {
    await waitFor('the first answer', () => firstAt.get(200));
    const closed = await change(before.replace('methods: [GET, POST]', 'methods: [POST]'), 403);
    say(
      `  GET taken away: ${closed.toFixed(0)} ms from the file's change to the first 403 ${checks.check(true)}`,
    );
    const opened = await change(before, 200);
    say(`  GET given back: ${opened.toFixed(0)} ms to the first 200 ${checks.check(true)}`);
  } finally {
    await load.stop();
  }
  const other = load.total - (load.statuses.get(200) ?? 0) - (load.statuses.get(403) ?? 0);
  say(`  ${load.total} requests on one connection meanwhile, ${other} failed ${checks.check(other === 0)}`);
}
