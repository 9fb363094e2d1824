import { setTimeout as sleep } from 'node:timers/promises';
import { userInfo } from 'node:os';
import { Command, Option } from 'commander';
import { callOperator, type QuarantineState } from '../src/operator/index.ts';
import { printable } from '../src/text/index.ts';
import { parseDuration, parsePodName, parseText } from './flags.ts';
import { formatTable, printData, type DataFormat } from './output.ts';
import { operatorSchema } from './schema.ts';

interface CommonFlags {
  readonly dataDir: string;
  readonly output: DataFormat | 'table';
}

interface WaitFlags extends CommonFlags {
  /** Milliseconds. */
  readonly timeout: number;
}

interface AddFlags extends WaitFlags {
  readonly id?: string;
  readonly pod?: { readonly namespace: string; readonly name: string };
  readonly uid?: string;
  readonly node?: string;
  readonly certificate?: string;
  readonly issuedBefore?: string;
  readonly reason: string;
  /** Milliseconds. */
  readonly for?: number;
  readonly forever?: boolean;
  readonly force?: boolean;
}

const POLL_MS = 100;
/** An API server that is away may be so for long, and what is decided is in force here. */
const SHARING_MS = 5_000;

export function quarantineCommand(): Command {
  return new Command('quarantine')
    .description('cut off an identity, a pod, a node or a certificate at once, in every Envoy')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(removeCommand());
}

/** Exit codes: 0 every Envoy enforces it, 1 it is in force and something is missing still, 2 it could not be decided. */
function addCommand(): Command {
  const command = new Command('add')
    .description('deny whoever is named in every Envoy, refuse it identities and end its streams')
    .option('--id <spiffeid>', 'a SPIFFE ID; with --issued-before: of its certificates alone')
    .option('--pod <namespace/name>', 'one pod, whatever other pods share its SPIFFE ID', parsePodName)
    .option('--uid <uid>', 'of that pod, where it is gone')
    .option('--node <name>', 'all pods that a node runs, or has run')
    .option('--certificate <sha256>', 'one certificate: SHA-256 of its DER in hex, with or without colons')
    .option(
      '--issued-before <time>',
      'all certificates issued before then: now, or 2027-01-31T18:00:00Z; who holds one and is connected gets a new one',
    )
    .requiredOption('--reason <text>', 'why: for the log, the audit log and whoever asks', parseText)
    .option(
      '--for <duration>',
      'how long (default: until the last certificate of today has ended)',
      parseDuration,
    )
    .option('--forever', 'until it is removed')
    .option('--force', 'also where nobody of that name is known, or it is in quarantine already');
  return waiting(command).action(async (flags: AddFlags) => {
    const { id = '', pod, uid = '', node = '', certificate = '', issuedBefore = '', reason } = flags;
    const { added } = await callOperator(operatorSchema(), flags.dataDir, 'AddQuarantine', {
      id,
      pod: pod === undefined ? '' : `${pod.namespace}/${pod.name}`,
      pod_uid: uid,
      node,
      certificate,
      issued_before: issuedBefore,
      reason,
      by: whoAsks(),
      for_seconds: Math.ceil((flags.for ?? 0) / 1_000),
      forever: flags.forever === true,
      force: flags.force === true,
    });
    const state = await enforced(flags);
    const entries = state.entries.filter(({ name }) => name === added);
    tell({ added, ...state, entries }, flags, `${added} is in force\n`);
  });
}

function listCommand(): Command {
  const command = new Command('list').description('who is in quarantine, and how many Envoys enforce it');
  return common(command).action(async (flags: CommonFlags) => {
    const state = await list(flags);
    if (flags.output === 'table') process.stdout.write(`${table(state)}\n${standing(state)}`);
    else printData(state, flags.output);
  });
}

function removeCommand(): Command {
  const command = new Command('remove')
    .description('lift an entry')
    .argument('<name>', 'as add printed it, and list does');
  return waiting(command).action(async (name: string, flags: WaitFlags) => {
    await callOperator(operatorSchema(), flags.dataDir, 'RemoveQuarantine', { name, by: whoAsks() });
    tell(await enforced(flags), flags, `${name} is lifted\n`);
  });
}

function common(command: Command): Command {
  return command
    .requiredOption('--data-dir <dir>', 'data directory of a running control plane')
    .addOption(new Option('-o, --output <format>').choices(['table', 'json', 'yaml']).default('table'));
}

function waiting(command: Command): Command {
  return common(command).option(
    '--timeout <duration>',
    'how long to wait for all Envoys (default: 30s)',
    parseDuration,
    30_000,
  );
}

async function list({ dataDir }: CommonFlags): Promise<QuarantineState> {
  return await callOperator(operatorSchema(), dataDir, 'ListQuarantine', {});
}

/** Until every Envoy has acknowledged what the entries come to, or the time is over. */
async function enforced(flags: WaitFlags): Promise<QuarantineState> {
  const began = performance.now();
  for (;;) {
    const state = await list(flags);
    const waited = performance.now() - began;
    const done = isEnforced(state) && (state.unshared === '' || waited > SHARING_MS);
    if (done || waited > flags.timeout) return state;
    await sleep(POLL_MS);
  }
}

function isEnforced({ proxies, enforced: count, lagging }: QuarantineState): boolean {
  return count === proxies && lagging.length === 0;
}

function tell(state: QuarantineState & { added?: string }, { output }: CommonFlags, done: string): void {
  if (output === 'table') process.stdout.write(`${done}${standing(state)}`);
  else printData(state, output);
  if (!isEnforced(state) || state.unshared !== '' || state.not_kept !== '') process.exitCode = 1;
}

function standing(state: QuarantineState): string {
  const { proxies, enforced: count, lagging, replicas, unshared, not_kept: unkept } = state;
  const of = replicas > 1 ? ` of ${replicas} replicas` : '';
  const lines = [
    `enforced by ${count}/${proxies} proxies${of}`,
    ...lagging.map((line) => `  ${printable(line)}`),
  ];
  if (unshared !== '')
    lines.push(`IN FORCE ON THIS REPLICA ALONE, until it can be shared: ${printable(unshared)}`);
  if (unkept !== '') lines.push(`NOT WRITTEN DOWN: ${printable(unkept)}`);
  return lines.map((line) => `${line}\n`).join('');
}

function table({ entries }: QuarantineState): string {
  return formatTable(
    ['name', 'subject', 'reason', 'by', 'added', 'expires'],
    entries.map(({ name, subject, reason, by, added, expires }) => [
      name,
      subject,
      reason,
      by,
      added,
      expires === '' ? 'never' : expires,
    ]),
  );
}

/** For people: whoever may open the socket may write what they like. */
function whoAsks(): string {
  const sudo = process.env['SUDO_USER'];
  if (sudo !== undefined && sudo !== '') return sudo;
  try {
    return userInfo().username;
  } catch {
    return 'operator'; // A user ID without a name, as in containers.
  }
}
