import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { AuditLog, fileSink } from '../src/audit/index.ts';
import {
  directoryKeyStore,
  recovered,
  serializeStored,
  type KeyStore,
  type Recovery,
  type StoredAuthority,
} from '../src/authority/index.ts';
import { RootSecret } from '../src/cluster/index.ts';
import { writeWhole } from '../src/files/index.ts';
import { TrustBundle, TrustDomain } from '../src/identity/index.ts';
import { ApiServer, openAccess } from '../src/kubernetes/index.ts';
import { writeBundle } from './control-plane/bundle-files.ts';
import { defaultNamespace } from './control-plane/config.ts';
import { takeDataDir } from './control-plane/data-dir.ts';
import { parsed, parseDuration, parseNamespace } from './flags.ts';

interface Flags {
  readonly dataDir: string;
  readonly kubeconfig?: string;
  readonly inCluster?: boolean;
  readonly namespace?: string;
  readonly trustDomain: string;
  readonly rootTtl: number;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly auditLog?: string;
}

const RUNNING = 'replace the root there with countersign rotate, or stop it first';

export function recoverCommand(): Command {
  return new Command('recover')
    .description('begin anew with another root where the one that signs has ended; the former state is kept')
    .requiredOption('--data-dir <dir>', 'data directory of the stopped control plane; with --kubeconfig, any')
    .option('--kubeconfig <file>', 'of the API server whose Secret holds the root')
    .option('--in-cluster', 'the same, of the cluster that this runs in')
    .addOption(
      new Option(
        '--namespace <name>',
        "the control plane's own (default: of its service account or kubeconfig, else countersign-system)",
      ).argParser(parseNamespace),
    )
    .option('--trust-domain <name>', 'that of the Secret', 'cluster.local')
    .addOption(parsed('--root-ttl <duration>', 'how long the new root is good', parseDuration, '3650d'))
    .option(
      '--force',
      'though the root is good: it is trusted no more, and every Envoy is cut off until it has the new bundle',
    )
    .option('--dry-run', 'only say whether it could be done')
    .option('--audit-log <file>', 'where the audit event is appended (default: none is written)')
    .action(recover);
}

async function recover(flags: Flags): Promise<void> {
  const { dataDir, dryRun = false } = flags;
  const shared = flags.kubeconfig !== undefined || flags.inCluster === true;
  const folder = join(dataDir, 'authority');
  if (!shared && !existsSync(folder))
    throw new Error(`there is no root in ${folder}: name the data directory of the control plane`);
  const release = takeDataDir(dataDir, RUNNING);
  const { store, close } = shared ? openSecret(flags) : { store: directoryKeyStore(folder), close: () => {} };
  try {
    const stored = await store.load();
    if (stored === undefined)
      throw new Error(`there is no root in ${store.description}: restore it from a backup`);
    const recovery = await recovered(stored, {
      nowMs: Date.now(),
      rootTtlMs: flags.rootTtl,
      force: flags.force === true,
      where: store.description,
    });
    if (dryRun) {
      process.stdout.write(`could be done: ${summary(recovery)}\n`);
      return;
    }
    const kept = await keepFormer(dataDir, stored);
    await store.save(recovery.state);
    record(flags, recovery);
    const { bundle, trustDomain } = recovery.state;
    await writeBundle(TrustBundle.of({ trustDomain: TrustDomain.parse(trustDomain), ...bundle }), dataDir);
    process.stdout.write(
      `${summary(recovery)}\n\nThe former state is in ${kept}.\n${whatNext(flags, recovery, shared)}`,
    );
  } finally {
    close();
    release();
  }
}

function openSecret({ kubeconfig, namespace, trustDomain, dataDir }: Flags): {
  store: KeyStore;
  close: () => void;
} {
  const monotonicMs = (): number => performance.now();
  const access = openAccess(kubeconfig, monotonicMs);
  const api = new ApiServer({ access });
  const fail = (error: unknown): void => {
    throw error;
  };
  const store = new RootSecret({
    api,
    mark: { trustDomain, namespace: namespace ?? access.namespace ?? defaultNamespace },
    copy: directoryKeyStore(join(dataDir, 'authority')),
    signal: AbortSignal.timeout(30_000),
    monotonicMs,
    random: Math.random,
    onAway: fail,
    onCopyServes: () => {},
    onCopyFailed: fail,
  });
  // The client's connection lets the process end.
  const awake = setInterval(() => {}, 60_000);
  const close = (): void => {
    clearInterval(awake);
    void api.close();
  };
  return { store, close };
}

/** What was, for whoever has to look at it later: it holds a private key. @returns the file */
async function keepFormer(dataDir: string, stored: StoredAuthority): Promise<string> {
  const stamp = new Date().toISOString().replaceAll(/[:.]/gu, '-');
  const file = join(dataDir, 'authority', `before-recovery-${stamp}.json`);
  await writeWhole(file, serializeStored(stored), { create: true });
  return file;
}

function record({ auditLog }: Flags, { former, signing, root }: Recovery): void {
  if (auditLog === undefined) return;
  const audit = new AuditLog({
    sink: fileSink(auditLog),
    nowMs: Date.now,
    onError: (error) =>
      process.stderr.write(`countersign: the audit event could not be written: ${error.message}\n`),
    onRecovered: () => {},
  });
  audit.record({
    event: 'root.recovered',
    actor: 'operator',
    signing: signing.fingerprint,
    former: former.fingerprint,
    root,
  });
  audit.close();
}

function summary({ former, signing, root, state }: Recovery): string {
  const short = (fingerprint: string): string => fingerprint.slice(0, 16);
  const iso = (atMs: number): string => new Date(atMs).toISOString();
  return `the root ${short(former.fingerprint)}, which ${former.notAfterMs <= Date.now() ? 'ended' : 'would have ended'} at ${iso(former.notAfterMs)}, is replaced by ${root === 'next' ? 'the one that a rotation had prepared' : 'a new one'}, ${short(signing.fingerprint)}, good until ${iso(signing.notAfterMs)}; bundle number ${state.bundle.sequence}`;
}

function whatNext({ dataDir }: Flags, { root }: Recovery, shared: boolean): string {
  const start = shared
    ? 'Replicas that run take it over by themselves; restart those that do not'
    : `Start the control plane: countersign control-plane --data-dir ${dataDir}`;
  const bundle = join(dataDir, 'bundle.pem');
  return `${start}.\n${
    root === 'next'
      ? 'Envoys that were connected lately trust it already.'
      : `Give every Envoy that is not connected ${bundle} in the place of its file with the control plane's roots (--ca), and restart it.`
  }\n`;
}
