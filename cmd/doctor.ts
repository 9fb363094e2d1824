import { Command, Option } from 'commander';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describeRoot, directoryKeyStore, type StoredAuthority } from '../src/authority/index.ts';
import { Links } from '../src/expiry/index.ts';
import {
  callOperator,
  OperatorError,
  type CheckExpiryResponse,
  type LinkState,
} from '../src/operator/index.ts';
import { expiryAnswer } from './control-plane/expiry-answer.ts';
import { takeDataDir } from './control-plane/data-dir.ts';
import { rootLinks } from './control-plane/root-links.ts';
import { formatTable, printData, type DataFormat } from './output.ts';
import { operatorSchema } from './schema.ts';

/** Of an SVID, where no control plane says what it is. */
const SVID_TTL_MS = 3_600_000;

interface Answer extends CheckExpiryResponse {
  /** Whether a control plane answered; else it is what the files say. */
  readonly running: boolean;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'when every root, certificate and key ends, and what to run about it; exits 0 where all is well, 1 where there is something to do, 2 where it cannot be told',
    )
    .requiredOption('--data-dir <dir>', 'data directory of the control plane, running or not')
    .addOption(new Option('-o, --output <format>').choices(['table', 'json', 'yaml']).default('table'))
    .action(async ({ dataDir, output }: { dataDir: string; output: DataFormat | 'table' }) => {
      const answer = await ask(dataDir);
      if (!answer.running) {
        process.stderr.write(
          `countersign: no control plane is running on ${dataDir}: this is what its files say\n`,
        );
      }
      if (output === 'table') process.stdout.write(text(answer.links));
      else printData(answer, output);
      process.exitCode = exitCode(answer);
    });
}

async function ask(dataDir: string): Promise<Answer> {
  try {
    return { running: true, ...(await callOperator(operatorSchema(), dataDir, 'CheckExpiry', {})) };
  } catch (error) {
    if (!(error instanceof OperatorError && error.code === 'UNAVAILABLE')) throw error;
    return { running: false, ...(await readLinks(dataDir)) };
  }
}

/** @throws AuthorityError `store-*`; Error where there is no root */
async function readLinks(dataDir: string): Promise<CheckExpiryResponse> {
  const folder = join(dataDir, 'authority');
  const stored = existsSync(folder) ? await load(dataDir, folder) : undefined;
  if (stored === undefined)
    throw new Error(`there is no root in ${folder}: name the data directory of a control plane`);
  const { root, rotation, bundle } = stored;
  const links = new Links({ nowMs: Date.now, settleMs: SVID_TTL_MS });
  const roots = rootLinks({
    signing: describeRoot(root),
    other: rotation && describeRoot(rotation.other),
    step: rotation?.step ?? 'steady',
    bundle: bundle.x509Authorities.map((certificate) => describeRoot({ certificate })),
    plugged: root.privateKeyPem === undefined,
    dataDir,
  });
  links.add(() => roots);
  return expiryAnswer(links.judged(), Date.now());
}

/** Alone: what is loaded is tidied up, too, and a control plane may be about to start. */
async function load(dataDir: string, folder: string): Promise<StoredAuthority | undefined> {
  const release = takeDataDir(dataDir);
  try {
    return await directoryKeyStore(folder).load();
  } finally {
    release();
  }
}

function exitCode({ running, links }: Answer): number {
  if (links.some(({ state }) => state === 'soon' || state === 'expired')) return 1;
  return running && links.every(({ state }) => state === 'ok') ? 0 : 2;
}

function text(links: readonly LinkState[]): string {
  const rows = links.map(({ kind, name, state, ends, detail }) => [kind, name, state, ends || '-', detail]);
  const due = links.filter(({ run }) => run !== '');
  const todo = due.map(
    ({ kind, name, serves, run }) => `  ${kind} ${name} (when it ends, ${serves}):\n    ${run}\n`,
  );
  return (
    formatTable(['link', 'which', 'state', 'ends', 'detail'], rows) +
    (todo.length === 0 ? '' : `\nTo do:\n${todo.join('')}`)
  );
}
