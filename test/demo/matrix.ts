import { call } from '../harness/http.ts';
import { waitFor } from '../harness/wait.ts';
import type { AccessLogLine, TestEnvoy } from '../harness/envoy.ts';
import type { RunningMesh } from './mesh.ts';
import { bold, dim, green, heading, red, say, type Checks } from './screen.ts';
import { calls, memberNamed, outboundPort, type Call } from './shop.ts';

/** Every call for real, through both sidecars; the rule that decided comes from the callee's own access log. */
export async function showMatrix(mesh: RunningMesh, checks: Checks): Promise<void> {
  heading('Who may call whom');
  const widths = [9, 9, 6, 20, 7, 6];
  const line = (cells: readonly string[]): string =>
    cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  say(dim(`  ${line(['CALLER', 'CALLEE', 'METHOD', 'PATH', 'VERDICT', 'STATUS'])}  BY`));
  for (const expectation of calls) {
    const { status, rule, notes } = await callFor(expectation, mesh);
    const allowed = status === 200;
    const mark = checks.check(status === expectation.expected && rule === expectation.rule);
    const verdict = (allowed ? green : red)((allowed ? 'allowed' : 'denied').padEnd(7));
    const { from, to, method, path } = expectation;
    const cells = line([from, to, method, path]);
    say(
      `  ${cells}  ${verdict}  ${String(status).padEnd(6)}  ${rule ?? 'default: no rule allows it'} ${mark}${notes}`,
    );
  }
  await showPlaintext(checks);
}

async function callFor(
  { from, to, method, path }: Call,
  mesh: RunningMesh,
): Promise<{ status: number; rule: string | undefined; notes: string }> {
  const caller = memberNamed(from);
  const callee = mesh.envoys.get(to);
  if (callee === undefined) throw new Error(`no Envoy of ${to}`);
  const seen = inbound(callee).length;
  const { status } = await call({ host: caller.ip, port: outboundPort(caller, to), method, path });
  const logged = await waitFor(`the access log of ${to}`, () => inbound(callee)[seen]);
  return { status, rule: ruleOf(logged), notes: notesOf(logged) };
}

function inbound(envoy: TestEnvoy): readonly AccessLogLine[] {
  return envoy.accessLog().filter(({ direction }) => direction === 'inbound');
}

function ruleOf({ denied_by: denied, allowed_by: allowed }: AccessLogLine): string | undefined {
  return denied ?? allowed ?? undefined;
}

/** What left a trace without changing the answer. */
function notesOf({ audited_by: audited, shadow_denied_by: shadow, status }: AccessLogLine): string {
  const policy = /policy\[(?<name>[^\]]*)\]/u.exec(shadow ?? '')?.groups?.['name'];
  const notes = [
    ...(audited === undefined || audited === null ? [] : ['audited']),
    ...(policy === undefined || status !== 200 ? [] : [`in shadow, ${policy} would deny it`]),
  ];
  return notes.length === 0 ? '' : dim(`  (${notes.join('; ')})`);
}

/** Past the sidecar's back: a caller that shows no certificate does not even reach a rule. */
async function showPlaintext(checks: Checks): Promise<void> {
  const { status } = await call({ host: memberNamed('cart').ip, port: 8_080, path: '/items' });
  const outcome = status === 0 ? 'connection refused' : `HTTP ${status}`;
  say(`  ${bold('without mTLS')}, straight to cart's sidecar: ${outcome} ${checks.check(status === 0)}`);
}
