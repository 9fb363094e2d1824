import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import {
  bootstrap,
  parseEndpoint,
  parseInbound,
  parseOutbound,
  type BootstrapOptions,
} from '../src/proxy/index.ts';
import { defaultServerName } from './control-plane/config.ts';
import { collect, parsed, parseDuration, parseHops, parsePodName } from './flags.ts';
import { meshConfigFlag, readMeshConfig } from './mesh-config.ts';
import { printData, type DataFormat } from './output.ts';

interface Flags {
  readonly pod: { readonly namespace: string; readonly name: string };
  readonly controlPlane: string;
  readonly ca: string;
  readonly token: string;
  readonly serverName: string;
  readonly inbound?: readonly string[];
  readonly outbound?: readonly string[];
  readonly adminPort: string;
  readonly accessLog: string;
  readonly xds: 'sotw' | 'delta';
  readonly maxConnectionAge: number;
  readonly sourceAddress?: string;
  readonly trustedHops: number;
  readonly proxyProtocol?: true;
  readonly meshConfig?: string;
  readonly output: DataFormat;
}

export function bootstrapCommand(): Command {
  return new Command('bootstrap')
    .description('print the bootstrap of a sidecar Envoy; with the CA and token files it needs nothing else')
    .requiredOption('--pod <namespace/name>', 'the pod beside which Envoy runs', parsePodName)
    .requiredOption('--control-plane <host:port>', "the control plane's gRPC address")
    .requiredOption('--ca <file>', 'bundle that the control plane is verified with (DATA_DIR/bundle.pem)')
    .requiredOption('--token <file>', 'file of the projected token; read afresh for each stream')
    .option('--server-name <name>', "the name in the control plane's certificate", defaultServerName)
    .option('--inbound <[http2:|tcp:]listen=app>', 'mTLS listener in front of an app (repeatable)', collect)
    .option(
      '--outbound <[tcp:]listen=upstream=spiffeid>',
      'mTLS way to another workload (repeatable)',
      collect,
    )
    .option('--admin-port <port>', "Envoy's admin port, on loopback", '15000')
    .option('--access-log <file>', 'where the JSON access log goes; - is stdout', '-')
    .addOption(new Option('--xds <variant>', 'xDS variant').choices(['sotw', 'delta']).default('delta'))
    .addOption(
      parsed(
        '--max-connection-age <duration>',
        "connections' longest life; give it the mesh's --svid-ttl",
        parseDuration,
        '1h',
      ),
    )
    .option('--source-address <ip>', 'address that outbound connections come from')
    .addOption(
      parsed(
        '--trusted-hops <n>',
        'proxies in front of inbound HTTP listeners whose x-forwarded-for is believed',
        parseHops,
        '0',
      ),
    )
    .option('--proxy-protocol', 'inbound connections begin with a PROXY protocol header')
    .option(
      meshConfigFlag[0],
      "the mesh's settings; every authorizer that its extensionProviders declare can then be asked",
    )
    .addOption(new Option('-o, --output <format>').choices(['json', 'yaml']).default('json'))
    .action(async (flags: Flags) => {
      const { meshConfig } = flags;
      const { authorizers = [] } = meshConfig === undefined ? {} : await readMeshConfig(meshConfig);
      printData(bootstrap(toOptions(flags, authorizers)), flags.output);
    });
}

function toOptions(flags: Flags, authorizers: BootstrapOptions['authorizers']): BootstrapOptions {
  const options: BootstrapOptions = {
    pod: `${flags.pod.namespace}/${flags.pod.name}`,
    controlPlane: parseEndpoint('--control-plane', flags.controlPlane, true),
    serverName: flags.serverName,
    caFile: resolve(flags.ca),
    tokenFile: resolve(flags.token),
    inbound: (flags.inbound ?? []).map(parseInbound),
    outbound: (flags.outbound ?? []).map(parseOutbound),
    adminPort: parseEndpoint('--admin-port', `127.0.0.1:${flags.adminPort}`, false).port,
    accessLog: flags.accessLog === '-' ? '-' : resolve(flags.accessLog),
    xds: flags.xds,
    maxConnectionSeconds: Math.max(1, Math.round(flags.maxConnectionAge / 1_000)),
    sourceAddress: flags.sourceAddress,
    trustedHops: flags.trustedHops,
    proxyProtocol: flags.proxyProtocol === true,
    authorizers,
  };
  if (options.inbound.length + options.outbound.length === 0) {
    throw new Error('nothing to do: give at least one --inbound or --outbound');
  }
  return options;
}
