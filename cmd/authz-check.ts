import { isIP } from 'node:net';
import { Command, InvalidArgumentError, Option } from 'commander';
import { SpiffeId } from '../src/identity/index.ts';
import { rulesOfSuspect } from '../src/quarantine/index.ts';
import {
  couldNotTell,
  type MeshSettings,
  judge,
  parseTime,
  quarantineName,
  ruleName,
  selectiveOf,
  type Decision,
  type Protocol,
  type Request,
  type Unsaid,
} from '../src/policy/index.ts';
import { entryAboutTarget, readCertificate, readQuarantine, undecidedEntry } from './authz-quarantine.ts';
import type { AuthzInput } from './authz-input.ts';
import {
  addAuthzOptions,
  parseLabels,
  parsePort,
  readPolicies,
  settingsOf,
  type AuthzFlags,
} from './authz-options.ts';
import { readMappingFile } from './mapping.ts';
import { parsePodName } from './flags.ts';
import { printData } from './output.ts';

type Headers = Readonly<Record<string, readonly string[]>>;

interface Flags extends AuthzFlags {
  readonly to: { readonly namespace: string; readonly name: string };
  readonly labels?: Readonly<Record<string, string>>;
  readonly from?: SpiffeId;
  readonly protocol: Protocol;
  readonly method: string;
  readonly path: string;
  readonly host?: string;
  readonly header: Headers;
  readonly port?: number;
  readonly sourceIp?: string;
  readonly remoteIp?: string;
  readonly destinationIp?: string;
  readonly sni?: string;
  readonly claims?: string;
  readonly filterMetadata?: string;
  readonly authorizerSays?: 'allow' | 'deny';
  readonly at?: number;
  readonly quarantine?: string;
  readonly fromCertificate?: string;
}

/** Exit codes: 0 allowed, 1 denied, 2 could not tell. */
export function authzCheckCommand(): Command {
  const command = new Command('check')
    .description('say whether a request would be allowed, by which rule, or what it lacks')
    .requiredOption(
      '--to <namespace/name>',
      'the called workload: a Pod of the manifests, whose labels count; of any other, --labels does',
      parsePodName,
    )
    .option('--labels <k=v,...>', "the called workload's labels, where no Pod manifest has them", parseLabels)
    .option('--from <spiffeid>', 'the caller; absent: not authenticated, in plaintext', parseCaller)
    .addOption(new Option('--protocol <protocol>').choices(['http', 'tcp']).default('http'))
    .option('--method <method>', 'HTTP method', 'GET')
    .option('--path <path>', 'HTTP path, query included', '/')
    .option('--host <host>', 'HTTP host, port included if the caller sends it')
    .option('--header <name=value>', 'HTTP header (repeatable)', collectHeader, {})
    .option('--port <n>', "the called workload's port", parsePort)
    .option('--source-ip <ip>', "the connection's peer address", parseAddress)
    .option(
      '--remote-ip <ip>',
      "the caller's address behind proxies (default: the peer address)",
      parseAddress,
    )
    .option('--destination-ip <ip>', "the called workload's address", parseAddress)
    .option('--sni <name>', 'the server name of the TLS connection')
    .addOption(
      new Option(
        '--authorizer-says <verdict>',
        "an external authorizer's answer, where a CUSTOM rule asks it",
      ).choices(['allow', 'deny']),
    )
    .option('--at <time>', 'when the request arrives, as 2027-01-31T18:00:00Z (default: now)', parseAt)
    .option('--claims <file>', "the payload of the request's token, a JSON or YAML mapping; absent: no token")
    .option('--quarantine <file>', 'who is in quarantine: what countersign quarantine list -o json printed')
    .option(
      '--from-certificate <file>',
      "the caller's certificate (PEM), which some of those entries look at",
    )
    .option('--filter-metadata <file>', "what other filters wrote: {'envoy.filters.http.x': {key: value}}");
  return addAuthzOptions(command, 'table').action(async (flags: Flags) => {
    const request = await requestOf(flags);
    const settings = await settingsOf(flags);
    const input = await readPolicies(flags, settings);
    const target = { namespace: flags.to.namespace, labels: labelsOf(flags, input, settings) };
    const listed = flags.quarantine === undefined ? [] : await readQuarantine(flags.quarantine);
    const name = `${flags.to.namespace}/${flags.to.name}`;
    const pod = input.pods.get(name);
    const about = entryAboutTarget(listed, { ...flags.to, pod, trustDomain: settings.trustDomain });
    const quarantine =
      about?.certain === true
        ? rulesOfSuspect({ name: about.rule.entry, reason: about.rule.reason })
        : listed.map(({ rule }) => rule);
    const decision = judge(input, target, request, { settings, nowMs: Date.now, quarantine });
    const open = undecidedEntry(quarantine, request, decision);
    if (open !== undefined) {
      throw new Error(
        `could not tell: ${open} of the quarantine looks at the caller's certificate; give it by --from-certificate`,
      );
    }
    if (decision.verdict === 'ALLOW' && about !== undefined && !about.certain) {
      throw new Error(
        `could not tell: ${about.rule.entry} of the quarantine may be about ${name} itself, which would then deny everybody; give its Pod in -f as kubectl get pod -o yaml prints it, with its UID, node and service account`,
      );
    }
    if (flags.output === 'table') process.stdout.write(inWords(decision, request.authorizerSays));
    else printData(decision, flags.output);
    process.exitCode = exitCode(decision, request.authorizerSays);
  });
}

/** @throws Error where the answer depends on labels that nobody gave: a DENY that selects by them would be lost */
function labelsOf(
  { to, labels }: Flags,
  input: AuthzInput,
  settings: MeshSettings,
): Readonly<Record<string, string>> {
  const name = `${to.namespace}/${to.name}`;
  const pod = input.pods.get(name);
  if (pod === undefined) {
    const selective = selectiveOf(input, to.namespace, settings);
    if (labels === undefined && selective !== undefined) {
      throw new Error(
        `there is no Pod ${name} in the manifests, and ${selective} selects by labels: add the Pod, or give its labels by --labels k=v,...`,
      );
    }
    if (labels !== undefined) {
      process.stderr.write(`note: no Pod ${name} in the manifests to take labels from; --labels are used\n`);
    }
    return labels ?? {};
  }
  if (labels !== undefined)
    process.stderr.write(`note: the labels are those of Pod ${name}; --labels is ignored\n`);
  return pod.labels;
}

async function requestOf(flags: Flags): Promise<Request> {
  const claims = flags.claims === undefined ? undefined : await readMappingFile(flags.claims, '--claims');
  const metadata =
    flags.filterMetadata === undefined
      ? undefined
      : await readMappingFile(flags.filterMetadata, '--filter-metadata');
  return {
    protocol: flags.protocol,
    principal: flags.from?.uri,
    sourceIp: flags.sourceIp,
    remoteIp: flags.remoteIp,
    destinationIp: flags.destinationIp,
    destinationPort: flags.port,
    sni: flags.sni,
    method: flags.method,
    path: flags.path,
    host: flags.host,
    headers: flags.header,
    ...(flags.at !== undefined && { nowMs: flags.at }),
    ...(flags.authorizerSays !== undefined && {
      authorizerSays: flags.authorizerSays === 'allow' ? 'ALLOW' : 'DENY',
    }),
    ...(flags.fromCertificate !== undefined && {
      certificate: await readCertificate(flags.fromCertificate),
    }),
    ...(claims && { claims }),
    ...(metadata && { filterMetadata: metadata }),
  };
}

const FLAGS: Readonly<Record<Unsaid, string>> = {
  'source.ip': '--source-ip',
  'remote.ip': '--remote-ip',
  'destination.ip': '--destination-ip',
  'destination.port': '--port',
  'request.host': '--host',
  'request.method': '--method',
  'request.path': '--path',
};

/** Whom nobody can speak for: an ALLOW that an authorizer has not confirmed is no yes. */
function exitCode({ verdict, asks, undecided }: Decision, authorizerSays: Request['authorizerSays']): number {
  if (undecided !== undefined) return 2;
  if (verdict === 'DENY') return 1;
  return asks === undefined || authorizerSays !== undefined ? 0 : 2;
}

function inWords(decision: Decision, authorizerSays: Request['authorizerSays']): string {
  const { verdict, decidedBy, quarantine, reason, audited, shadow, nearest, asks, undecided } = decision;
  if (undecided !== undefined) return `${couldNotTell(undecided, FLAGS)}\n`;
  const open = exitCode(decision, authorizerSays) === 2;
  const lines = [
    open ? `${verdict}, if ${asks?.provider} allows it (state its answer by --authorizer-says)` : verdict,
    `  reason   ${reason}`,
  ];
  if (asks !== undefined) lines.push(`  asks     ${asks.provider}, by ${ruleName(asks.rule)}`);
  if (quarantine !== undefined) lines.push(`  rule     ${quarantineName({ entry: quarantine })}`);
  if (decidedBy !== undefined) lines.push(`  rule     ${ruleName(decidedBy)}`);
  if (nearest !== undefined) {
    lines.push(
      `  nearest  ${ruleName(nearest.rule)}`,
      ...nearest.failed.map((failed) => `  failed   ${failed}`),
    );
  }
  lines.push(...audited.map((rule) => `  audited  ${ruleName(rule)}`));
  if (shadow !== undefined) {
    const by = shadow.decidedBy === undefined ? '' : ` by ${ruleName(shadow.decidedBy)}`;
    lines.push(`  shadow   ${shadow.verdict}${by}, were the shadow policies enforced`);
  }
  return `${lines.join('\n')}\n`;
}

function parseCaller(text: string): SpiffeId {
  try {
    return SpiffeId.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function parseAddress(text: string): string {
  if (isIP(text) !== 0 && !text.includes('%')) return text;
  throw new InvalidArgumentError(`${JSON.stringify(text)} is no IP address: write 10.0.0.1 or fd00::1.`);
}

function parseAt(text: string): number {
  const time = parseTime(text);
  if (time !== undefined) return time;
  throw new InvalidArgumentError(
    `${JSON.stringify(text)} is no time: write 2027-01-31T18:00:00Z (RFC 3339).`,
  );
}

function collectHeader(text: string, before: Headers): Headers {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError(`${JSON.stringify(text)} is not a header: write name=value.`);
  const name = text.slice(0, at).toLowerCase();
  return { ...before, [name]: [...(before[name] ?? []), text.slice(at + 1)] };
}
