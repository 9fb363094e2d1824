import { Load } from '../harness/http.ts';
import { waitFor } from '../harness/wait.ts';
import type { RunningMesh } from './mesh.ts';
import { heading, say, type Checks } from './screen.ts';
import { memberNamed, outboundPort } from './shop.ts';

/** Renews the SVIDs of both ends under load; the serials are those that the Envoys themselves show. */
export async function showRotation(mesh: RunningMesh, checks: Checks): Promise<void> {
  heading('Identities rotate under load');
  const web = memberNamed('web');
  const load = new Load({ host: web.ip, port: outboundPort(web, 'cart'), path: '/items' });
  try {
    for (const name of ['web', 'cart']) {
      const envoy = mesh.envoys.get(name);
      if (envoy === undefined) throw new Error(`no Envoy of ${name}`);
      const before = await envoy.serials();
      await mesh.controlPlane.ask('renew', '--pod', memberNamed(name).pod);
      const after = await waitFor(`a new serial in ${name}'s Envoy`, async () => {
        const now = await envoy.serials();
        return now.length > 0 && now.every((serial) => !before.includes(serial)) ? now : undefined;
      });
      say(`  ${name.padEnd(5)} ${short(before)} -> ${short(after)} ${checks.check(true)}`);
    }
  } finally {
    await load.stop();
  }
  const { total, failed } = load;
  say(`  ${total} requests meanwhile, ${failed} failed ${checks.check(failed === 0 && total > 0)}`);
}

function short(serials: readonly string[]): string {
  return serials.map((serial) => serial.slice(0, 16)).join(', ');
}
