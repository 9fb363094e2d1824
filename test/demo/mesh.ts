import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { httpApp, type App } from '../harness/app.ts';
import { TestControlPlane } from '../harness/control-plane.ts';
import { TestEnvoy } from '../harness/envoy.ts';
import { root } from '../harness/paths.ts';
import { members, memberNamed, outboundPort, type Member } from './shop.ts';
import { step } from './screen.ts';

/** The running shop: a control plane, and for each member an app and its sidecar. */
export interface RunningMesh {
  readonly folder: string;
  /** The manifests in use: a copy, to be changed. */
  readonly manifests: string;
  readonly controlPlane: TestControlPlane;
  readonly envoys: ReadonlyMap<string, TestEnvoy>;
  stop(): Promise<void>;
}

export async function startMesh(): Promise<RunningMesh> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-demo-'));
  const manifests = join(folder, 'manifests');
  cpSync(`${root}deploy/demo`, manifests, { recursive: true });
  const sidecars = join(folder, 'sidecars');
  mkdirSync(sidecars);
  const apps: App[] = [];
  const envoys = new Map<string, TestEnvoy>();
  const controlPlane = await step('control plane, over deploy/demo', () =>
    TestControlPlane.start({ directory: manifests, dataDir: join(folder, 'data') }),
  );
  const stop = async (): Promise<void> => {
    await Promise.all([...envoys.values()].map((envoy) => envoy.stop()));
    for (const app of apps) app.close();
    await controlPlane.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await step(`${members.length} apps, each behind an Envoy of its own`, async () => {
      await Promise.all(
        members.map(async (member) => {
          const app = await httpApp(member.name);
          apps.push(app);
          envoys.set(member.name, await startSidecar(member, app, controlPlane, sidecars));
        }),
      );
    });
    await step('every sidecar proven, with identity and filters', async () => {
      await Promise.all([...envoys.values()].map((envoy) => envoy.ready()));
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { folder, manifests, controlPlane, envoys, stop };
}

async function startSidecar(
  member: Member,
  app: App,
  controlPlane: TestControlPlane,
  folder: string,
): Promise<TestEnvoy> {
  const outbound = member.calls.flatMap((name) => {
    const callee = memberNamed(name);
    const listen = `${member.ip}:${outboundPort(member, name)}`;
    return ['--outbound', `${listen}=${callee.ip}:8080=${callee.id}`];
  });
  return await TestEnvoy.start({
    pod: member.pod,
    folder,
    controlPlane: controlPlane.address,
    bundle: controlPlane.bundle,
    token: await controlPlane.ask('token', '--pod', member.pod),
    flags: [
      ...['--inbound', `${member.ip}:8080=127.0.0.1:${app.port}`, '--source-address', member.ip],
      ...outbound,
    ],
  });
}
