import {
  appendFile,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Mesh } from '../../mesh/index.ts';
import { DirectorySource } from './index.ts';
import type { DirectoryReport, DirectorySourceOptions } from './index.ts';

let base: string;
let directory: string;
let stateFile: string;
let mesh: Mesh;
let reports: DirectoryReport[];
let open: DirectorySource[];

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'countersign-directory-'));
  directory = join(base, 'manifests');
  stateFile = join(base, 'uids.json');
  await mkdir(directory);
  mesh = new Mesh({ rootNamespace: 'root' });
  reports = [];
  open = [];
});

afterEach(async () => {
  await Promise.all(open.map((source) => source.close()));
  await rm(base, { recursive: true });
});

/** Polling is off unless a test is about it: events alone must do. */
async function start(parts: Partial<DirectorySourceOptions> = {}): Promise<DirectorySource> {
  const onReport = (report: DirectoryReport): number => reports.push(report);
  const source = await DirectorySource.open({
    directory,
    mesh,
    nowMs: Date.now,
    onReport,
    pollMs: 3_600_000,
    ...parts,
  });
  open.push(source);
  return source;
}

const write = (file: string, text: string): Promise<void> => writeFile(join(directory, file), text);

/** As careful writers do: whole, or not at all. */
async function replace(file: string, text: string): Promise<void> {
  const temporary = join(base, 'next');
  await writeFile(temporary, text);
  await rename(temporary, join(directory, file));
}

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 5000, interval: 5 });

const pod = (name: string, more = ''): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop}\n${more}`;
const policy = (name: string, action: string): string =>
  `apiVersion: security.countersign.dev/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec: {action: ${action}, rules: [{}]}\n`;

const podNames = (): string[] =>
  mesh
    .list('Pod')
    .map(({ name }) => name)
    .sort();
const uidOf = (name: string): string | undefined => mesh.get('Pod', `shop/${name}`)?.uid;
const actionOf = (name: string): string | undefined =>
  mesh.get('AuthorizationPolicy', `shop/${name}`)?.policy.action;

describe('open', () => {
  it('brings every manifest of every folder into the mesh, in one batch', async () => {
    await mkdir(join(directory, 'team'));
    await write(
      'all.yaml',
      [
        'apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {tier: a}}',
        'apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: shop, uid: sa-uid}',
        policy('deny-all', 'DENY'),
      ].join('\n---\n'),
    );
    await write(
      'team/list.json',
      '{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"},"spec":{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]}}]}',
    );
    await write(
      'team/pod.yml',
      pod(
        'web-1',
        'spec: {serviceAccountName: web, nodeName: node-a}\nstatus: {phase: Pending, podIP: 10.0.0.7, podIPs: [{ip: 10.0.0.7}, {ip: "FD00:0::7"}]}\n',
      ),
    );
    await write('notes.txt', 'no manifest');
    await write('.hidden.yaml', pod('hidden'));
    const source = await start();
    expect(source.synced).toBe(true);
    expect(source.problems()).toEqual([]);
    expect(mesh.generation).toBe(1);
    expect(mesh.get('Namespace', 'shop')?.labels).toEqual({ tier: 'a' });
    expect(mesh.get('ServiceAccount', 'shop/web')?.uid).toBe('sa-uid');
    expect(actionOf('deny-all')).toBe('DENY');
    expect(mesh.get('Service', 'shop/web')).toEqual({
      kind: 'Service',
      namespace: 'shop',
      name: 'web',
      selector: { app: 'web' },
      ports: [{ name: '', port: 80, targetPort: 'http', protocol: 'TCP', appProtocol: '' }],
    });
    expect(mesh.list('Pod')).toEqual([
      {
        kind: 'Pod',
        namespace: 'shop',
        name: 'web-1',
        uid: expect.stringMatching(/^[0-9a-f-]{36}$/),
        labels: {},
        annotations: {},
        serviceAccount: 'web',
        nodeName: 'node-a',
        ips: ['10.0.0.7', 'fd00::7'],
        phase: 'Pending',
        terminating: false,
      },
    ]);
  });

  it('fills in what a pod leaves unsaid', async () => {
    await write(
      'pod.yaml',
      'apiVersion: v1\nkind: Pod\nmetadata: {name: bare, deletionTimestamp: 2026-11-22T12:00:00Z}\n',
    );
    await start();
    expect(mesh.get('Pod', 'default/bare')).toMatchObject({
      serviceAccount: 'default',
      nodeName: 'standalone',
      ips: [],
      phase: 'Running',
      terminating: true,
    });
  });

  it.each([
    ['does not exist', (): Promise<void> => rm(directory, { recursive: true })],
    [
      'is a file',
      async (): Promise<void> => {
        await rm(directory, { recursive: true });
        await writeFile(directory, '');
      },
    ],
  ])('refuses a directory that %s', async (_, prepare) => {
    await prepare();
    await expect(start()).rejects.toMatchObject({
      code: 'DIRECTORY_UNREADABLE',
      message: expect.stringContaining(directory),
    });
    await rm(directory, { recursive: true, force: true });
  });
});

describe('changes', () => {
  it('of content reach the mesh, each naming just what changed', async () => {
    await write('a.yaml', policy('a', 'DENY'));
    await write('b.yaml', policy('b', 'DENY'));
    await start();
    await replace('a.yaml', policy('a', 'AUDIT'));
    await until(() => expect(actionOf('a')).toBe('AUDIT'));
    const applied = reports.filter((report) => report.kind === 'applied');
    expect(applied.at(-1)?.files).toEqual(['a.yaml']);
    expect(applied.at(-1)?.notice.changes.map(({ key }) => key)).toEqual(['shop/a']);
  });

  it('that are written in place, new files and new folders are seen', async () => {
    await write('a.yaml', policy('a', 'DENY'));
    await start();
    await write('a.yaml', policy('a', 'ALLOW'));
    await write('new.yaml', pod('new'));
    await mkdir(join(directory, 'folder', 'deep'), { recursive: true });
    await write('folder/deep/pod.yaml', pod('deep'));
    await until(() => {
      expect(actionOf('a')).toBe('ALLOW');
      expect(podNames()).toEqual(['deep', 'new']);
    });
    await write('folder/deep/pod.yaml', pod('deeper'));
    await until(() => expect(podNames()).toEqual(['deeper', 'new']));
    await rm(join(directory, 'folder'), { recursive: true });
    await until(() => expect(podNames()).toEqual(['new']));
  });

  it('delete a file’s objects with the file, and an object with its document', async () => {
    await write('a.yaml', `${pod('one')}---\n${pod('two')}`);
    await write('b.yaml', pod('three'));
    await start();
    await replace('a.yaml', pod('two'));
    await unlink(join(directory, 'b.yaml'));
    await until(() => expect(podNames()).toEqual(['two']));
  });

  it('by symbolic link swap, as a mounted ConfigMap changes, are seen', async () => {
    await mkdir(join(directory, '..v1'));
    await mkdir(join(directory, '..v2'));
    await write('..v1/policy.yaml', policy('a', 'DENY'));
    await write('..v2/policy.yaml', policy('a', 'AUDIT'));
    await symlink('..v1', join(directory, '..data'));
    await symlink('..data/policy.yaml', join(directory, 'policy.yaml'));
    const source = await start();
    expect(actionOf('a')).toBe('DENY');
    expect(source.problems()).toEqual([]);
    await symlink('..v2', join(directory, '..data_tmp'));
    await rename(join(directory, '..data_tmp'), join(directory, '..data'));
    await until(() => expect(actionOf('a')).toBe('AUDIT'));
  });

  it('that no event tells of are found by polling: same size, same time, other content', async () => {
    const outside = join(base, 'outside');
    await mkdir(outside);
    const time = new Date(1_700_000_000_000);
    await writeFile(join(outside, 'p.yaml'), policy('a', 'DENY '));
    await utimes(join(outside, 'p.yaml'), time, time);
    // The link's folder is watched, the target's is not.
    await symlink(join(outside, 'p.yaml'), join(directory, 'p.yaml'));
    await start({ pollMs: 20 });
    expect(actionOf('a')).toBe('DENY');
    await writeFile(join(outside, 'p.yaml'), policy('a', 'ALLOW'));
    await utimes(join(outside, 'p.yaml'), time, time);
    await until(() => expect(actionOf('a')).toBe('ALLOW'));
  });

  it('that leave the content as it was change nothing', async () => {
    await write('a.yaml', pod('one'));
    await start();
    const { generation } = mesh;
    await replace('a.yaml', pod('one'));
    await replace('b.yaml', pod('two'));
    await until(() => expect(podNames()).toEqual(['one', 'two']));
    expect(mesh.generation).toBe(generation + 1);
  });

  it('end with close', async () => {
    const source = await start();
    await source.close();
    await write('a.yaml', pod('late'));
    const other = new Mesh({ rootNamespace: 'root' });
    // Another source sees it: so this one had its chance.
    const second = await DirectorySource.open({
      directory,
      mesh: other,
      nowMs: Date.now,
      onReport: () => {},
    });
    open.push(second);
    expect(other.list('Pod')).toHaveLength(1);
    expect(podNames()).toEqual([]);
  });

  it('survive symbolic links in a circle', async () => {
    await write('a.yaml', pod('one'));
    await symlink('.', join(directory, 'again'));
    const source = await start();
    expect(podNames()).toEqual(['one']);
    expect(source.problems()).toEqual([]);
  });
});

/** Never over within a test. */
const FOR_EVER = 3_600_000;

describe('a file that is written in place', () => {
  it('by a slow writer never loses what it is yet to write, and what is there counts at once', async () => {
    await write('a.yaml', `${policy('allow', 'ALLOW')}---\n${policy('deny', 'DENY')}`);
    const source = await start({ holdMs: FOR_EVER });
    const removed: string[] = [];
    mesh.subscribe(({ changes }) => {
      for (const { key, after } of changes) if (after === undefined) removed.push(key);
    });
    await write('a.yaml', `${policy('new', 'ALLOW')}---\n${policy('allow', 'AUDIT')}`);
    await until(() => {
      expect(actionOf('new')).toBe('ALLOW');
      expect(actionOf('allow')).toBe('AUDIT');
    });
    expect(actionOf('deny')).toBe('DENY');
    expect(source.problems()).toMatchObject([
      {
        severity: 'warning',
        file: 'a.yaml',
        object: 'AuthorizationPolicy shop/deny',
        message: expect.stringContaining('replaced by rename'),
      },
    ]);
    await appendFile(join(directory, 'a.yaml'), `---\n${policy('deny', 'DENY')}`);
    await until(() => expect(source.problems()).toEqual([]));
    expect(actionOf('deny')).toBe('DENY');
    expect(removed).toEqual([]);
  });

  it('loses what it does not name once it stood still', async () => {
    await write('a.yaml', `${pod('one')}---\n${pod('two')}`);
    const source = await start({ holdMs: 40 });
    await write('a.yaml', pod('two'));
    await until(() => expect(podNames()).toEqual(['two']));
    expect(source.problems()).toEqual([]);
  });

  it('loses it at once when it is replaced by rename, and when it is deleted', async () => {
    for (const file of ['a', 'b']) await write(`${file}.yaml`, `${pod(`${file}1`)}---\n${pod(`${file}2`)}`);
    const source = await start({ holdMs: FOR_EVER });
    for (const file of ['a', 'b']) await write(`${file}.yaml`, pod(`${file}2`));
    await until(() => expect(source.problems()).toHaveLength(2));
    expect(podNames()).toEqual(['a1', 'a2', 'b1', 'b2']);
    await replace('a.yaml', pod('a2'));
    await unlink(join(directory, 'b.yaml'));
    await until(() => expect(podNames()).toEqual(['a2']));
    expect(source.problems()).toEqual([]);
  });

  it('does not hold what another file defines by now', async () => {
    await write('a.yaml', `${pod('one')}---\n${policy('p', 'DENY')}`);
    const source = await start({ holdMs: FOR_EVER });
    await replace('b.yaml', policy('p', 'AUDIT'));
    await until(() => expect(source.problems()).toHaveLength(1));
    await write('a.yaml', pod('one'));
    await until(() => expect(actionOf('p')).toBe('AUDIT'));
    expect(source.problems()).toEqual([]);
  });
});

describe('bad documents', () => {
  it('are reported with file, line and field; everything else goes on', async () => {
    await write(
      'bad.yaml',
      `${pod('good')}---\n${pod('bad', 'status:\n  phase: Sleeping\n  podIP: 10.0.0.300\n')}`,
    );
    const source = await start();
    expect(podNames()).toEqual(['good']);
    expect(source.problems()).toEqual([
      {
        severity: 'error',
        inForce: 'none',
        file: 'bad.yaml',
        line: 9,
        field: 'status.phase',
        message: '"Sleeping" is not one of Pending, Running, Succeeded, Failed, Unknown',
        object: 'Pod shop/bad',
      },
      {
        severity: 'error',
        inForce: 'none',
        file: 'bad.yaml',
        line: 10,
        field: 'status.podIP',
        message: expect.stringContaining('"10.0.0.300" is no IP address'),
        object: 'Pod shop/bad',
      },
    ]);
  });

  it('leave the last good version in force, until they are mended', async () => {
    await write('a.yaml', `${policy('a', 'DENY')}---\n${pod('one')}`);
    const source = await start();
    const uid = uidOf('one');
    await replace('a.yaml', `${policy('a', 'DENNY')}---\n${pod('one', 'spec: {nodeName: node-b}\n')}`);
    await until(() => expect(mesh.get('Pod', 'shop/one')?.nodeName).toBe('node-b'));
    expect(actionOf('a')).toBe('DENY');
    expect(source.problems()).toMatchObject([
      {
        severity: 'error',
        file: 'a.yaml',
        line: 4,
        field: 'spec.action',
        object: 'AuthorizationPolicy shop/a',
      },
    ]);
    await replace('a.yaml', `${policy('a', 'AUDIT')}---\n${pod('one')}`);
    await until(() => expect(actionOf('a')).toBe('AUDIT'));
    expect(source.problems()).toEqual([]);
    expect(uidOf('one')).toBe(uid);
    expect(reports.map(({ kind }) => kind)).toEqual(['applied', 'problem', 'applied', 'solved', 'applied']);
  });

  it('a file that is no YAML any more keeps all of its objects, and deletes none', async () => {
    await write('a.yaml', `${policy('a', 'DENY')}---\n${pod('one')}`);
    const source = await start();
    await replace('a.yaml', 'kind: [unclosed\n');
    await until(() => expect(source.problems()).toHaveLength(1));
    expect(source.problems()[0]).toMatchObject({
      file: 'a.yaml',
      message: expect.stringContaining('not valid YAML'),
    });
    expect(actionOf('a')).toBe('DENY');
    expect(podNames()).toEqual(['one']);
  });

  it('a document that does not say which object it is may be any of the file’s: all stay', async () => {
    await write('a.yaml', `${policy('a', 'DENY')}---\n${pod('one')}`);
    const source = await start();
    await replace('a.yaml', `${pod('two')}---\nkind: AuthorizationPolicy\nmetadata: {}\n`);
    await until(() => expect(podNames()).toEqual(['one', 'two']));
    expect(actionOf('a')).toBe('DENY');
    expect(source.problems()).toMatchObject([{ file: 'a.yaml', field: 'apiVersion' }]);
  });

  it('a file that is emptied, as a shell does before a command writes to it, deletes nothing', async () => {
    await write('a.yaml', policy('a', 'DENY'));
    const source = await start();
    await write('a.yaml', '');
    await until(() =>
      expect(source.problems()).toMatchObject([{ message: expect.stringContaining('is empty') }]),
    );
    expect(actionOf('a')).toBe('DENY');
    await write('a.yaml', policy('a', 'AUDIT'));
    await until(() => expect(actionOf('a')).toBe('AUDIT'));
    expect(source.problems()).toEqual([]);
  });

  it('the directory’s going away deletes nothing; when it is back, it counts again', async () => {
    await write('a.yaml', pod('one'));
    const source = await start({ pollMs: 20 });
    await rename(directory, `${directory}-away`);
    await until(() =>
      expect(source.problems()).toMatchObject([
        { file: '', message: expect.stringContaining('stays in force') },
      ]),
    );
    expect(podNames()).toEqual(['one']);
    await rename(`${directory}-away`, directory);
    await until(() => expect(source.problems()).toEqual([]));
    await write('a.yaml', pod('two'));
    await until(() => expect(podNames()).toEqual(['two']));
  });

  it('two files that define one object: reported, and the first by file name counts, whichever came first', async () => {
    await write('b.yaml', policy('a', 'DENY'));
    const source = await start();
    await replace('a.yaml', policy('a', 'AUDIT'));
    await until(() => expect(actionOf('a')).toBe('AUDIT'));
    expect(source.problems()).toMatchObject([
      {
        severity: 'error',
        file: 'b.yaml',
        line: 1,
        message: expect.stringContaining('defined in a.yaml already'),
      },
    ]);
    await unlink(join(directory, 'a.yaml'));
    await until(() => expect(actionOf('a')).toBe('DENY'));
    expect(source.problems()).toEqual([]);
  });

  it('one file that defines an object twice: the first counts', async () => {
    await write('a.yaml', `${policy('a', 'AUDIT')}---\n${policy('a', 'ALLOW')}`);
    const source = await start();
    expect(actionOf('a')).toBe('AUDIT');
    expect(source.problems()).toMatchObject([
      { file: 'a.yaml', line: 6, object: 'AuthorizationPolicy shop/a' },
    ]);
  });

  it('a file that is too large is not read: what it held stays in force', async () => {
    await write('a.yaml', pod('one'));
    const source = await start();
    await replace('a.yaml', `${pod('two')}#${'x'.repeat(1024 * 1024)}`);
    await until(() => expect(source.problems()).toHaveLength(1));
    expect(source.problems()[0]?.message).toMatch(
      /^has 10486\d\d bytes; at most 1048576 of a file are read: split it/,
    );
    expect(podNames()).toEqual(['one']);
  });

  it('objects that claim one UID are each reported, until one has another', async () => {
    const claiming = (name: string, uid: string): string =>
      pod(name).replace('namespace:', `uid: ${uid}, namespace:`);
    await write('a.yaml', `${pod('other')}---\n${claiming('one', 'u-1')}`);
    await write('b.yaml', claiming('two', 'u-1'));
    const source = await start();
    const problem = {
      severity: 'error',
      field: 'metadata.uid',
      inForce: 'this',
      message: expect.stringContaining('u-1 is claimed by Pod shop/one, Pod shop/two;'),
    };
    expect(source.problems()).toMatchObject([
      { ...problem, file: 'a.yaml', line: 5, object: 'Pod shop/one' },
      { ...problem, file: 'b.yaml', line: 1, object: 'Pod shop/two' },
    ]);
    await replace('b.yaml', claiming('two', 'u-2'));
    await until(() => expect(source.problems()).toEqual([]));
  });

  it('kinds of others are passed over, unknown ones warned of', async () => {
    await write('a.yaml', 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n');
    await write('b.yaml', 'apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g}\n');
    await write('c.yaml', 'apiVersion: security.istio.io/v1\nkind: Sidecar\nmetadata: {name: p}\n');
    const source = await start();
    expect(source.problems().map(({ severity, file, field }) => [severity, file, field])).toEqual([
      ['warning', 'b.yaml', 'kind'],
      ['warning', 'c.yaml', 'kind'],
    ]);
    expect(source.problems()[1]?.message).toContain(
      'AuthorizationPolicy, RequestAuthentication, PeerAuthentication',
    );
    expect(reports.filter((report) => report.kind === 'ignored').map(({ file }) => file)).toContain('a.yaml');
  });
});

it('reads how peers and end users have to come', async () => {
  const authn = (kind: string, spec: string): string =>
    `apiVersion: security.istio.io/v1\nkind: ${kind}\nmetadata: {name: a, namespace: shop}\nspec: ${spec}\n`;
  await write('a.yaml', authn('PeerAuthentication', '{mtls: {mode: PERMISSIVE}}'));
  await write('b.yaml', authn('RequestAuthentication', '{jwtRules: [{issuer: a, jwksUri: "https://a/b"}]}'));
  const source = await start();
  const subject = { namespace: 'shop', labels: {} };
  expect(source.problems()).toMatchObject([{ severity: 'warning', field: 'spec.mtls.mode' }]);
  expect(mesh.peerAuthenticationsOf(subject)).toMatchObject([{ name: 'a', mode: 'PERMISSIVE' }]);
  expect(mesh.requestAuthenticationsOf(subject)).toMatchObject([{ jwtRules: [{ issuer: 'a' }] }]);
  expect(mesh.requestAuthenticationsOf({ namespace: 'other', labels: {} })).toEqual([]);
  await replace('a.yaml', authn('PeerAuthentication', '{mtls: {mode: SOMETIMES}}'));
  await until(() =>
    expect(source.problems()).toMatchObject([{ severity: 'error', field: 'spec.mtls.mode', file: 'a.yaml' }]),
  );
  expect(mesh.count('PeerAuthentication')).toBe(1);
});

describe('UIDs', () => {
  it('stay over changes and restarts, and are kept from others’ eyes', async () => {
    await write('a.yaml', pod('one'));
    const first = await start({ stateFile });
    const uid = uidOf('one');
    expect((await stat(stateFile)).mode & 0o777).toBe(0o600);
    await replace('a.yaml', pod('one', 'spec: {nodeName: node-b}\n'));
    await until(() => expect(mesh.get('Pod', 'shop/one')?.nodeName).toBe('node-b'));
    expect(uidOf('one')).toBe(uid);
    await first.close();
    mesh = new Mesh({ rootNamespace: 'root' });
    await start({ stateFile });
    expect(uidOf('one')).toBe(uid);
  });

  it('are new for a pod that was deleted and comes back under its name', async () => {
    await write('a.yaml', pod('one'));
    await start({ stateFile });
    const uid = uidOf('one');
    await unlink(join(directory, 'a.yaml'));
    await until(() => expect(podNames()).toEqual([]));
    await write('a.yaml', pod('one'));
    await until(() => expect(uidOf('one')).toMatch(/^[0-9a-f-]{36}$/));
    expect(uidOf('one')).not.toBe(uid);
  });

  it('are new for a pod that was absent at a start', async () => {
    await write('a.yaml', pod('one'));
    await (await start({ stateFile })).close();
    const uid = uidOf('one');
    await unlink(join(directory, 'a.yaml'));
    await (await start({ stateFile })).close();
    await write('a.yaml', pod('one'));
    mesh = new Mesh({ rootNamespace: 'root' });
    await start({ stateFile });
    expect(uidOf('one')).not.toBe(uid);
  });

  it('stay for a pod whose manifest moves to another file, and for one that is bad at a start', async () => {
    await write('a.yaml', pod('one'));
    const first = await start({ stateFile });
    const uid = uidOf('one');
    await write('b.yaml', pod('one'));
    await until(() => expect(first.problems()).toHaveLength(1));
    await unlink(join(directory, 'a.yaml'));
    await until(() => expect(first.problems()).toEqual([]));
    expect(uidOf('one')).toBe(uid);
    await first.close();
    await write('b.yaml', pod('one', 'status: {phase: Sleeping}\n'));
    mesh = new Mesh({ rootNamespace: 'root' });
    await start({ stateFile });
    expect(podNames()).toEqual([]);
    await replace('b.yaml', pod('one'));
    await until(() => expect(uidOf('one')).toBe(uid));
  });

  it('of the manifest win', async () => {
    await write('a.yaml', pod('one').replace('name: one', 'name: one, uid: from-the-manifest'));
    await start({ stateFile });
    expect(uidOf('one')).toBe('from-the-manifest');
  });

  it.each([
    ['cut short', '{"version":1,"ui'],
    ['of another version', '{"version":2,"uids":{}}'],
    ['with a UID that is no text', '{"version":1,"uids":{"Pod shop/one":7}}'],
  ])('are never replaced when their file is %s: the start is refused', async (_, text) => {
    await writeFile(stateFile, text);
    await expect(start({ stateFile })).rejects.toMatchObject({
      code: 'STATE_CORRUPTED',
      message: expect.stringContaining(stateFile),
    });
    expect(await readFile(stateFile, 'utf8')).toBe(text);
  });

  it('that cannot be kept are reported, and serve until the end', async () => {
    await write('a.yaml', pod('one'));
    const source = await start({ stateFile: join(base, 'no', 'such', 'folder', 'uids.json') });
    expect(uidOf('one')).toBeDefined();
    expect(source.problems()).toMatchObject([
      { severity: 'error', message: expect.stringContaining('cannot be written') },
    ]);
  });

  it('in the directory itself are no manifest', async () => {
    await write('a.yaml', pod('one'));
    await (await start({ stateFile: join(directory, 'uids.json') })).close();
    const source = await start({ stateFile: join(directory, 'uids.json') });
    expect(source.problems()).toEqual([]);
  });
});
