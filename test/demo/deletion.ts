import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../harness/wait.ts';
import type { RunningMesh } from './mesh.ts';
import { heading, say, type Checks } from './screen.ts';
import { memberNamed } from './shop.ts';

/** Deletes the intruder's pod: no renewal, its stream ends, its still valid token opens no other. */
export async function showDeletion(mesh: RunningMesh, checks: Checks): Promise<void> {
  heading('A pod is deleted');
  const { pod } = memberNamed('intruder');
  const seen = mesh.controlPlane.audit().length;
  rmSync(join(mesh.manifests, 'intruder.yaml'));
  const event = async (name: string, factor: string): Promise<string> =>
    await waitFor(`${name} in the audit log`, () => {
      const found = mesh.controlPlane
        .audit()
        .slice(seen)
        .find((entry) => entry['event'] === name && entry['actor'] === pod && entry['factor'] === factor);
      return found === undefined ? undefined : String(found['detail']);
    });
  say(`  renewal refused: ${await event('svid.refused', 'renewal')} ${checks.check(true)}`);
  say(`  its token, valid for another hour: ${await event('workload.refused', 'pod')} ${checks.check(true)}`);
  const left = await waitFor('its streams to be gone', async () => {
    const proxies = await mesh.controlPlane.ask('proxies', '-o', 'json');
    const { proxies: connected } = JSON.parse(proxies) as { proxies: readonly { pod: string }[] };
    return connected.some((proxy) => proxy.pod === pod) ? undefined : connected.length;
  });
  say(`  its streams are closed; ${left} streams of the others go on ${checks.check(left > 0)}`);
}
