import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { countersign } from '../harness/paths.ts';
import { run } from '../harness/process.ts';
import { stackTrace, World } from './world.ts';

const world = new World();
afterAll(async () => {
  await world.close();
});

const controlPlane = `control-plane --directory ${world.manifests} --data-dir ${world.dataDir}`;
const bootstrap = 'bootstrap --pod shop/web --control-plane 127.0.0.1:15012 --ca ca.pem --token token';
const authz = `-f ${world.manifests} --namespace shop`;
const nobody = join(world.folder, 'nobody');

async function expectRefused(line: string, ...says: readonly RegExp[]): Promise<void> {
  // '' stands for an empty argument.
  const args = line.split(' ').map((argument) => argument.replace(/''$/u, ''));
  const { code, stdout, stderr } = await run(countersign, args);
  for (const text of says) expect(stderr).toMatch(text);
  expect(stderr).not.toMatch(stackTrace);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
}

describe('a flag that is missing is named by', () => {
  it.each([
    ['control-plane --directory x', '--data-dir <dir>'],
    ['token --pod shop/web', '--data-dir <dir>'],
    ['token --data-dir x', '--pod <namespace/name>'],
    ['proxies', '--data-dir <dir>'],
    ['renew --pod shop/web', '--data-dir <dir>'],
    ['renew --data-dir x', '--pod <namespace/name>'],
    ['bootstrap --control-plane x:1 --ca x --token x', '--pod <namespace/name>'],
    ['bootstrap --pod shop/web --ca x --token x', '--control-plane <host:port>'],
    ['bootstrap --pod shop/web --control-plane x:1 --token x', '--ca <file>'],
    ['bootstrap --pod shop/web --control-plane x:1 --ca x', '--token <file>'],
    ['authz compile -f x --labels app=web', '--namespace <name>'],
    ['authz check -f x --from spiffe://x/y', '--to <namespace/name>'],
  ])('%s', async (line, flag) => {
    const required = new RegExp(`^error: required option '${flag}' not specified`, 'mu');
    await expectRefused(line, required);
  });
});

describe('a flag that is wrong is answered with what was found and what is allowed:', () => {
  it.each([
    ['nonsense', /unknown command 'nonsense'/u],
    ['authz nonsense', /unknown command 'nonsense'/u],
    [`${controlPlane} --nonsense`, /unknown option '--nonsense'/u],
    [`${controlPlane} nonsense`, /too many arguments.*nonsense/u],
    ['control-plane --data-dir x', /not said.*give --directory <dir> or --kubeconfig <file>/u],
    [`${controlPlane} --kubeconfig x`, /--directory and --kubeconfig were both given/u],
    [
      `${controlPlane} --admission 127.0.0.1:0`,
      /--admission answers an API server, and with --directory there is none/u,
    ],
    ['control-plane --directory', /'--directory <dir>' argument missing/u],
    [
      `${controlPlane} --listen 127.0.0.1`,
      /"127\.0\.0\.1" is not an address: write HOST:PORT or \[IPV6\]:PORT/u,
    ],
    [`${controlPlane} --listen 127.0.0.1:99999`, /"127\.0\.0\.1:99999" is not an address/u],
    [`${controlPlane} --admin ::1:80`, /"::1:80" is not an address: write HOST:PORT or \[IPV6\]:PORT/u],
    [`${controlPlane} --trust-domain Mesh.Example`, /"Mesh\.Example" has "M" at position 0.*lower case/u],
    [`${controlPlane} --trust-domain spiffe://mesh`, /--trust-domain.*no scheme/u],
    [`${controlPlane} --default-action maybe`, /'maybe' is invalid\. Allowed choices are deny, allow\./u],
    [`${controlPlane} --svid-ttl soon`, /"soon" is not a duration: write 90s, 15m, 1h or 1h30m/u],
    [`${controlPlane} --svid-ttl 59s`, /59s is out of bounds: choose between 1m and 24h/u],
    [`${controlPlane} --svid-ttl 25h`, /25h is out of bounds/u],
    [`${controlPlane} --rotate-root-at-age 3h`, /less than four times --svid-ttl/u],
    [`${controlPlane} --root-ttl 7h`, /eight times --svid-ttl/u],
    [`${controlPlane} --ca-cert ca.pem`, /--ca-cert and --ca-key belong together/u],
    [`${controlPlane} --ca-key key.pem`, /--ca-cert and --ca-key belong together/u],
    [`${controlPlane} --ca-roots root.pem`, /--ca-cert and --ca-key belong together/u],
    [`${controlPlane} --ca-secret cacerts`, /with --directory there is none: give --ca-cert and --ca-key/u],
    [
      `${controlPlane} --ca-cert ca.pem --ca-key key.pem --rotate-root-at-age 9h`,
      /--rotate-root-at-age makes roots/u,
    ],
    [
      `control-plane --kubeconfig x --data-dir ${world.dataDir} --ca-secret x --ca-cert x`,
      /leave --ca-cert, --ca-key and --ca-roots out/u,
    ],
    [`${controlPlane} --ca-key pkcs11:token=mesh`, /PKCS#11 URI cannot be used: it names no key/u],
    [`${controlPlane} --ca-key pkcs11:object=ca?module-path=/x&pin-value=1`, /it holds the PIN/u],
    [
      `${controlPlane} --ca-roots x --ca-key pkcs11:object=ca?module-path=/x`,
      /--ca-roots says what --ca-cert/u,
    ],
    [`${controlPlane} --root-namespace Root`, /"Root" is not a namespace/u],
    [`${controlPlane} --audience ''`, /--audience.*empty: name one/u],
    [`${controlPlane} --token-issuer ''`, /--token-issuer.*empty: name one/u],
    [`${controlPlane} --peer-address no`, /'no' is invalid\. Allowed choices are off, warn, require\./u],
    [`${controlPlane} --token-review no`, /Allowed choices are when-available, require\./u],
    [`${controlPlane} --max-message-bytes 0`, /"0" is not a whole number of at least 1/u],
    [`${controlPlane} --max-streams-per-workload many`, /"many" is not a whole number/u],
    [`${controlPlane} --max-names-per-stream 1.5`, /"1\.5" is not a whole number/u],
    [`${controlPlane} --max-concurrent-attestations -1`, /"-1" is not a whole number/u],
    [`${controlPlane} --log-format xml`, /Allowed choices are json, pretty/u],
    [`${controlPlane} --log-level loud`, /Allowed choices are debug, info, warn, error/u],
    [`token --data-dir ${nobody} --pod web`, /"web" is not a pod: write NAMESPACE\/NAME/u],
    [`token --data-dir ${nobody} --pod shop/web/x`, /"shop\/web\/x" is not a pod/u],
    [`token --data-dir ${nobody} --pod shop/web --ttl 0s`, /"0s" is no time at all/u],
    [`proxies --data-dir ${nobody} -o xml`, /'xml' is invalid\. Allowed choices are table, json, yaml/u],
    [bootstrap, /give at least one --inbound or --outbound/u],
    [`${bootstrap} --inbound 8080`, /--inbound: "8080": write \[http2:\|tcp:\]LISTEN=APP, for example/u],
    [`${bootstrap} --inbound 10.0.0.7:0=127.0.0.1:1`, /--inbound.*port 1 to 65535/u],
    [`${bootstrap} --outbound 127.0.0.1:1=127.0.0.2:2`, /--outbound.*for example/u],
    [
      `${bootstrap} --outbound 127.0.0.1:1=127.0.0.2:2=http://x`,
      /"http:\/\/x" does not begin with "spiffe:\/\/"/u,
    ],
    [`${bootstrap} --inbound 10.0.0.7:80=127.0.0.1:1 --xds grpc`, /Allowed choices are sotw, delta/u],
    [`${bootstrap} --inbound 10.0.0.7:80=127.0.0.1:1 --admin-port x`, /--admin-port.*port 1 to 65535/u],
    [`${bootstrap} --inbound 10.0.0.7:80=127.0.0.1:1 -o table`, /Allowed choices are json, yaml/u],
    [`authz compile ${authz} --labels app`, /"app" is not a label: write name=value/u],
    [`authz compile -f ${nobody} --namespace shop --labels app=web`, /nobody: cannot be read/u],
    [`authz check -f ${world.manifests} --to web --from spiffe://a/b`, /"web" is not a pod|NAMESPACE\/NAME/u],
    [
      `authz check -f ${world.manifests} --to shop/web --from web`,
      /"web" does not begin with "spiffe:\/\/"/u,
    ],
  ] as const)('%s', async (line, says) => {
    await expectRefused(line, says);
    expect(existsSync(world.dataDir)).toBe(false);
  });
});

describe('a command that finds no control plane says how to start one:', () => {
  it.each(['token --pod shop/web', 'renew --pod shop/web', 'proxies'])('%s', async (line) => {
    await expectRefused(
      `${line} --data-dir ${nobody}`,
      /no control plane is running on the data directory .*nobody: start it with countersign control-plane/u,
    );
  });
});

it('without a command, the commands are listed, and nothing was decided', async () => {
  const { code, stderr } = await run(countersign, []);
  for (const name of ['control-plane', 'token', 'bootstrap', 'proxies', 'renew', 'authz']) {
    expect(stderr).toContain(name);
  }
  expect(code).toBe(2);
});

it('--help is asked for, so it goes to stdout with 0', async () => {
  for (const command of [
    [],
    ['control-plane'],
    ['token'],
    ['bootstrap'],
    ['proxies'],
    ['renew'],
    ['authz', 'check'],
  ]) {
    const { code, stdout } = await run(countersign, [...command, '--help']);
    expect({ code, usage: stdout.split('\n')[0] }).toEqual({
      code: 0,
      usage: expect.stringContaining(`Usage: countersign ${command.join(' ')}`.trim()) as string,
    });
  }
});
