import { Command, InvalidArgumentError, Option } from 'commander';
import { TrustDomain } from '../../src/identity/index.ts';
import { collect, parseDuration, parseListen, parsePositiveInteger } from '../flags.ts';
import { defaultServerName, svidTtlBounds, type ControlPlaneConfig, type ListenAddress } from './config.ts';
import { runControlPlane } from './run.ts';

interface Flags {
  readonly directory: string;
  readonly dataDir: string;
  readonly listen: ListenAddress;
  readonly admin: ListenAddress;
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  readonly defaultAction: 'allow' | 'deny';
  readonly svidTtl: number;
  readonly audience: string;
  readonly tokenIssuer: string;
  readonly peerAddress: 'off' | 'warn' | 'require';
  readonly serverName?: readonly string[];
  readonly auditLog?: string;
  readonly maxMessageBytes: number;
  readonly maxStreamsPerWorkload: number;
  readonly maxNamesPerStream: number;
  readonly maxConcurrentAttestations: number;
  readonly logFormat: 'json' | 'pretty';
  readonly logLevel: string;
}

function parseTrustDomain(text: string): TrustDomain {
  try {
    return TrustDomain.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function parseSvidTtl(text: string): number {
  const ttlMs = parseDuration(text);
  if (ttlMs < svidTtlBounds.minMs || ttlMs > svidTtlBounds.maxMs) {
    throw new InvalidArgumentError(`${text} is out of bounds: choose between 1m and 24h.`);
  }
  return ttlMs;
}

export function controlPlaneCommand(): Command {
  const choice = (flag: string, text: string, choices: readonly string[], preset: string): Option =>
    new Option(flag, text).choices([...choices]).default(preset);
  return new Command('control-plane')
    .description('prove pods, issue their identities, push them and the compiled policies to their Envoys')
    .requiredOption('--directory <dir>', 'standalone mode: a directory of Kubernetes manifests, watched')
    .requiredOption('--data-dir <dir>', 'where keys and state are kept; made if missing, owner-only')
    .option('--listen <address>', 'gRPC (xDS), TLS 1.3', parseListen, { host: '127.0.0.1', port: 15_012 })
    .option('--admin <address>', '/healthz, /readyz, /metrics', parseListen, {
      host: '127.0.0.1',
      port: 15_014,
    })
    .option(
      '--trust-domain <name>',
      "the mesh's trust domain",
      parseTrustDomain,
      TrustDomain.parse('cluster.local'),
    )
    .option(
      '--root-namespace <name>',
      'policies of this namespace select in every namespace',
      'countersign-system',
    )
    .addOption(
      choice(
        '--default-action <action>',
        'where no ALLOW policy selects a workload',
        ['deny', 'allow'],
        'deny',
      ),
    )
    .option('--svid-ttl <duration>', "an SVID's lifetime, 1m to 24h", parseSvidTtl, 3_600_000)
    .option('--audience <audience>', 'audience that tokens must carry', 'countersign')
    .option('--token-issuer <url>', "issuer of the tokens ('iss')", 'https://countersign.local')
    .addOption(
      choice(
        '--peer-address <mode>',
        "must a caller's address be its pod's?",
        ['off', 'warn', 'require'],
        'warn',
      ),
    )
    .option('--server-name <dns>', 'DNS name in the own certificate (repeatable)', collect)
    .option('--audit-log <file>', 'where audit events are appended (default: stdout)')
    .option('--max-message-bytes <n>', 'of one xDS request', parsePositiveInteger, 65_536)
    .option('--max-streams-per-workload <n>', 'open xDS streams of one pod', parsePositiveInteger, 64)
    .option('--max-names-per-stream <n>', 'subscribed resources of one stream', parsePositiveInteger, 256)
    .option('--max-concurrent-attestations <n>', 'callers proven at once', parsePositiveInteger, 1_024)
    .addOption(
      choice('--log-format <format>', 'json for machines, pretty for people', ['json', 'pretty'], 'json'),
    )
    .addOption(
      choice(
        '--log-level <level>',
        'least severe level that is logged',
        ['debug', 'info', 'warn', 'error'],
        'info',
      ),
    )
    .action(async (flags: Flags) => {
      process.exitCode = await runControlPlane(toConfig(flags));
    });
}

function toConfig(flags: Flags): ControlPlaneConfig {
  return {
    directory: flags.directory,
    dataDir: flags.dataDir,
    listen: flags.listen,
    admin: flags.admin,
    trustDomain: flags.trustDomain,
    settings: {
      trustDomain: flags.trustDomain.name,
      rootNamespace: flags.rootNamespace,
      defaultAction: flags.defaultAction,
    },
    svidTtlMs: flags.svidTtl,
    audience: flags.audience,
    tokenIssuer: flags.tokenIssuer,
    peerAddress: flags.peerAddress,
    serverNames: [defaultServerName, 'localhost', ...(flags.serverName ?? [])],
    auditLog: flags.auditLog,
    limits: {
      maxMessageBytes: flags.maxMessageBytes,
      maxStreamsPerClient: flags.maxStreamsPerWorkload,
      maxNamesPerStream: flags.maxNamesPerStream,
      maxConcurrentAdmissions: flags.maxConcurrentAttestations,
    },
    logFormat: flags.logFormat,
    logLevel: flags.logLevel,
  };
}
