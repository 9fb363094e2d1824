import { showDeletion } from './deletion.ts';
import { showMatrix } from './matrix.ts';
import { startMesh, type RunningMesh } from './mesh.ts';
import { showPolicyChange } from './policy-change.ts';
import { showRotation } from './rotation.ts';
import { bold, Checks, dim, elapsedSeconds, green, heading, red, say } from './screen.ts';
import { memberNamed, outboundPort } from './shop.ts';

/** The main job, live: exit 0, or 1 where anything differed from what was expected. */
async function main(): Promise<number> {
  const keep = process.argv.includes('--keep');
  const checks = new Checks();
  say(bold('Countersign: a small shop, its sidecars, and an intruder'));
  say(dim('  web, cart and payments, each behind a real Envoy; what they may do is in deploy/demo/policies'));
  heading('Start');
  let stopping: Promise<void> | undefined;
  let mesh: RunningMesh | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      stopping = mesh?.stop() ?? Promise.resolve();
      // What a start was in the middle of ends with this process: its children are killed at its exit.
      void stopping.then(() => process.exit(130));
    });
  }
  mesh = await startMesh();
  try {
    await showMatrix(mesh, checks);
    await showPolicyChange(mesh, checks);
    await showRotation(mesh, checks);
    await showDeletion(mesh, checks);
    summary(checks);
    if (keep) await linger(mesh);
  } catch (error) {
    if (stopping === undefined) throw error;
  } finally {
    await (stopping ?? mesh.stop());
  }
  return checks.failed === 0 ? 0 : 1;
}

function summary(checks: Checks): void {
  heading('Summary');
  const text = `${checks.passed} as expected, ${checks.failed} not; ${elapsedSeconds()} s in all`;
  say(`  ${checks.failed === 0 ? green(text) : red(text)}`);
}

async function linger(mesh: RunningMesh): Promise<void> {
  const web = memberNamed('web');
  const data = mesh.controlPlane.dataDir;
  heading('Left running until Ctrl-C. Try:');
  say(`  curl -i http://${web.ip}:${outboundPort(web, 'cart')}/items      ${dim('# as web, to cart')}`);
  say(`  $EDITOR ${mesh.manifests}/policies/cart.yaml      ${dim('# then ask again')}`);
  say(`  cmd/countersign proxies --data-dir ${data}`);
  say(`  cmd/countersign authz check -f ${mesh.manifests} --to shop/cart \\`);
  say(`    --from ${memberNamed('intruder').id} --method GET --path /items`);
  say(`  tail -f ${mesh.controlPlane.auditLog}`);
  say(`  curl http://${mesh.controlPlane.admin}/metrics`);
  // Until a signal stops the mesh and ends the process.
  await new Promise<never>(() => setInterval(() => {}, 60_000));
}

try {
  process.exitCode = await main();
} catch (error) {
  say(red(`The demo broke off: ${error instanceof Error ? error.message : String(error)}`));
  if (error instanceof Error && error.cause instanceof Error) say(dim(`  ${error.cause.message}`));
  process.exitCode = 1;
}
