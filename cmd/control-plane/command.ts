import { Command, InvalidArgumentError, Option } from 'commander';
import { TrustDomain } from '../../src/identity/index.ts';
import {
  choice,
  collect,
  parsed,
  parseDuration,
  parseListen,
  parseNamespace,
  parsePositiveInteger,
  parseText,
} from '../flags.ts';
import { meshConfigFlag } from '../mesh-config.ts';
import {
  defaultServerName,
  svidTtlBounds,
  type BundleEndpointConfig,
  type ControlPlaneConfig,
  type ListenAddress,
} from './config.ts';
import { refuseDataAmongManifests } from './data-dir.ts';
import { caOf, refuseUnclearSource } from './source-flags.ts';
import { readSettings } from './mesh-config-file.ts';
import type { SettingsFlags } from './mesh-config.ts';
import { runControlPlane } from './run.ts';

interface Flags {
  readonly directory?: string;
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly dataDir: string;
  readonly listen: ListenAddress;
  readonly admin: ListenAddress;
  readonly admission?: ListenAddress;
  readonly bundleEndpoint?: ListenAddress;
  readonly bundleEndpointProfile: 'https_spiffe' | 'https_web';
  readonly bundleEndpointCert?: string;
  readonly bundleEndpointKey?: string;
  readonly bundleRefreshHint: number;
  readonly trustDomain: TrustDomain;
  readonly rootNamespace: string;
  readonly defaultAction: 'allow' | 'deny';
  readonly meshConfig?: string;
  readonly rotateRootAtAge?: number;
  readonly caCert?: string;
  readonly caKey?: string;
  readonly caRoots?: string;
  readonly caSecret?: string;
  readonly svidTtl: number;
  readonly rootTtl: number;
  readonly jwksRefresh: number;
  readonly audience: string;
  readonly tokenIssuer?: string;
  readonly peerAddress: 'off' | 'warn' | 'require';
  readonly tokenReview: 'require' | 'when-available';
  readonly serverName?: readonly string[];
  readonly auditLog?: string;
  readonly maxMessageBytes: number;
  readonly maxStreamsPerWorkload: number;
  readonly maxNamesPerStream: number;
  readonly maxConcurrentAttestations: number;
  readonly maxRequestsPerMinute: number;
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

/** A root that ends before a rotation could is the outage that rotation exists to prevent. */
function rootTtl({ rootTtl: ttlMs, svidTtl, rotateRootAtAge = 0 }: Flags): number {
  const leastMs = rotateRootAtAge + 8 * svidTtl;
  if (ttlMs >= leastMs) return ttlMs;
  throw new Error(
    '--root-ttl is less than --rotate-root-at-age and eight times --svid-ttl: a root would end before the next one could take its place',
  );
}

/** Three steps, each of which may wait for the life of an SVID, must fit before the next rotation begins. */
function rotationAge({ rotateRootAtAge, svidTtl }: Flags): number | undefined {
  if (rotateRootAtAge === undefined || rotateRootAtAge >= 4 * svidTtl) return rotateRootAtAge;
  throw new Error(
    '--rotate-root-at-age is less than four times --svid-ttl: a rotation would begin before the last one could end',
  );
}

function parseRefreshHint(text: string): number {
  const hintMs = parseDuration(text);
  if (hintMs >= 1_000 && hintMs <= 24 * 3_600_000 && hintMs % 1_000 === 0) return hintMs;
  throw new InvalidArgumentError(`${text} is out of bounds: choose whole seconds between 1s and 24h.`);
}

function bundleEndpoint(flags: Flags): BundleEndpointConfig | undefined {
  const {
    bundleEndpoint: listen,
    bundleEndpointProfile: profile,
    bundleEndpointCert: certFile,
    bundleEndpointKey: keyFile,
  } = flags;
  const files = [certFile, keyFile].filter((file) => file !== undefined).length;
  if (listen === undefined) {
    if (files > 0) throw new Error('--bundle-endpoint-cert and --bundle-endpoint-key need --bundle-endpoint');
    return undefined;
  }
  const refreshHintMs = flags.bundleRefreshHint;
  if (profile === 'https_spiffe') {
    if (files > 0)
      throw new Error(
        '--bundle-endpoint-profile https_spiffe proves itself by an SVID: leave --bundle-endpoint-cert and --bundle-endpoint-key out',
      );
    return { listen, web: undefined, refreshHintMs };
  }
  if (certFile === undefined || keyFile === undefined)
    throw new Error(
      '--bundle-endpoint-profile https_web needs --bundle-endpoint-cert and --bundle-endpoint-key',
    );
  return { listen, web: { certFile, keyFile }, refreshHintMs };
}

export function controlPlaneCommand(): Command {
  const count = (flags: string, description: string, preset: string): Option =>
    parsed(flags, description, parsePositiveInteger, preset);
  const options = [
    new Option('--directory <dir>', 'standalone mode: a directory of Kubernetes manifests, watched'),
    new Option('--kubeconfig <file>', 'the API server that is watched (default: the one of the own cluster)'),
    new Option(
      '--namespace <name>',
      "the control plane's own, for its Secret and its Lease (default: of its service account or kubeconfig, else countersign-system)",
    ).argParser(parseNamespace),
    new Option(
      '--data-dir <dir>',
      'where keys and state are kept; made if missing, owner-only',
    ).makeOptionMandatory(),
    parsed('--listen <address>', 'gRPC (xDS), TLS 1.3 only', parseListen, '127.0.0.1:15012'),
    parsed('--admin <address>', '/healthz, /readyz, /metrics', parseListen, '127.0.0.1:15014'),
    new Option(
      '--admission <address>',
      'the validating webhook for policies, HTTPS (default: none)',
    ).argParser(parseListen),
    new Option(
      '--bundle-endpoint <address>',
      'where other trust domains fetch the trust bundle, HTTPS without client authentication (default: none)',
    ).argParser(parseListen),
    choice(
      '--bundle-endpoint-profile <profile>',
      "how it proves itself: by the control plane's own SVID, or by a certificate of Web PKI",
      ['https_spiffe', 'https_web'],
      'https_spiffe',
    ),
    new Option(
      '--bundle-endpoint-cert <file>',
      'PEM chain of https_web, leaf first; followed when it changes',
    ).argParser(parseText),
    new Option('--bundle-endpoint-key <file>', 'PEM key of https_web').argParser(parseText),
    parsed(
      '--bundle-refresh-hint <duration>',
      'how often other trust domains are asked to fetch the bundle; a new root signs three times that later at the earliest',
      parseRefreshHint,
      '5m',
    ),
    parsed('--trust-domain <name>', "the mesh's trust domain", parseTrustDomain, 'cluster.local'),
    parsed(
      '--root-namespace <name>',
      'its policies select in every namespace',
      parseNamespace,
      'countersign-system',
    ),
    choice(
      '--default-action <action>',
      'where no ALLOW policy selects a workload',
      ['deny', 'allow'],
      'deny',
    ),
    new Option(meshConfigFlag[0], `${meshConfigFlag[1]}; watched, and nothing in it may contradict a flag`),
    new Option(
      '--ca-cert <file>',
      "an operator's CA that signs instead of a root of our own: its certificate, and those above it; PEM, watched",
    ).argParser(parseText),
    new Option(
      '--ca-key <file>',
      'its key: PEM, for the control plane alone to read, or in a token: pkcs11:token=...;object=...?module-path=...&pin-source=file:...',
    ).argParser(parseText),
    new Option(
      '--ca-roots <file>',
      'the roots that workloads are to trust; PEM (default: what is self-signed in --ca-cert)',
    ).argParser(parseText),
    new Option(
      '--ca-secret <name>',
      'that CA from a Secret in the own namespace: tls.crt, tls.key, ca.crt, or ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem',
    ).argParser(parseText),
    new Option(
      '--rotate-root-at-age <duration>',
      'replace the root, step by step, when it is this old (default: only by countersign rotate)',
    ).argParser(parseDuration),
    parsed(
      '--root-ttl <duration>',
      'how long a root that is made here is good; --rotate-root-at-age should replace it long before',
      parseDuration,
      '3650d',
    ),
    parsed('--svid-ttl <duration>', "an SVID's lifetime, 1m to 24h", parseSvidTtl, '1h'),
    parsed(
      '--jwks-refresh <duration>',
      "between two fetches of a token issuer's keys, where its server names no time",
      parseDuration,
      '20m',
    ),
    parsed('--audience <audience>', 'audience that tokens must carry', parseText, 'countersign'),
    new Option(
      '--token-issuer <url>',
      "issuer of the tokens, 'iss' (default: as the API server says; https://countersign.local with --directory)",
    ).argParser(parseText),
    choice(
      '--peer-address <mode>',
      "must a caller's address be its pod's?",
      ['off', 'warn', 'require'],
      'warn',
    ),
    choice(
      '--token-review <mode>',
      'must the API server have confirmed a token, or only where it can be asked?',
      ['when-available', 'require'],
      'when-available',
    ),
    new Option('--server-name <dns>', 'further DNS name in the own certificate (repeatable)').argParser(
      collect,
    ),
    new Option('--audit-log <file>', 'where audit events are appended (default: stdout)'),
    count('--max-message-bytes <n>', 'of one xDS request', '65536'),
    count('--max-streams-per-workload <n>', 'open xDS streams of one pod', '64'),
    count('--max-names-per-stream <n>', 'subscribed resources of one stream', '256'),
    count('--max-concurrent-attestations <n>', 'callers proven at once', '1024'),
    count('--max-requests-per-minute <n>', 'CreateCertificate calls of one pod', '30'),
    choice('--log-format <format>', 'json for machines, pretty for people', ['json', 'pretty'], 'json'),
    choice(
      '--log-level <level>',
      'least severe level that is logged',
      ['debug', 'info', 'warn', 'error'],
      'info',
    ),
  ];
  const command = new Command('control-plane').description(
    'prove pods, issue their identities, push them and the compiled policies to their Envoys',
  );
  for (const option of options) command.addOption(option);
  return command.action(async (flags: Flags) => {
    refuseUnclearSource(flags);
    if (flags.directory !== undefined) refuseDataAmongManifests(flags.directory, flags.dataDir);
    const stated = new Set(Object.keys(flags).filter((name) => command.getOptionValueSource(name) === 'cli'));
    process.exitCode = await runControlPlane(await toConfig(flags, stated));
  });
}

/** @param stated the flags that the command line names */
function settingsFlags(flags: Flags, stated: ReadonlySet<string>): SettingsFlags {
  const { trustDomain, rootNamespace, defaultAction } = flags;
  return {
    stated: {
      ...(stated.has('trustDomain') && { trustDomain: trustDomain.name }),
      ...(stated.has('rootNamespace') && { rootNamespace }),
      ...(stated.has('defaultAction') && { defaultAction }),
    },
    preset: { trustDomain: trustDomain.name, rootNamespace, defaultAction },
  };
}

async function toConfig(flags: Flags, stated: ReadonlySet<string>): Promise<ControlPlaneConfig> {
  const fromFlags = settingsFlags(flags, stated);
  const file = flags.meshConfig;
  const settings = file === undefined ? fromFlags.preset : await readSettings(file, fromFlags);
  return {
    directory: flags.directory,
    kubeconfig: flags.kubeconfig,
    namespace: flags.namespace,
    dataDir: flags.dataDir,
    listen: flags.listen,
    admin: flags.admin,
    admission: flags.admission,
    bundleEndpoint: bundleEndpoint(flags),
    trustDomain: TrustDomain.parse(settings.trustDomain),
    settings,
    meshConfig: file === undefined ? undefined : { file, flags: fromFlags },
    svidTtlMs: flags.svidTtl,
    rootTtlMs: rootTtl(flags),
    ca: caOf(flags),
    rotateRootAtAgeMs: rotationAge(flags),
    jwksRefreshMs: flags.jwksRefresh,
    audience: flags.audience,
    tokenIssuer: flags.tokenIssuer,
    peerAddress: flags.peerAddress,
    tokenReview: flags.tokenReview,
    serverNames: [defaultServerName, 'localhost', ...(flags.serverName ?? [])],
    auditLog: flags.auditLog,
    limits: {
      maxMessageBytes: flags.maxMessageBytes,
      maxStreamsPerClient: flags.maxStreamsPerWorkload,
      maxNamesPerStream: flags.maxNamesPerStream,
    },
    maxConcurrentAttestations: flags.maxConcurrentAttestations,
    maxRequestsPerMinute: flags.maxRequestsPerMinute,
    logFormat: flags.logFormat,
    logLevel: flags.logLevel,
  };
}
