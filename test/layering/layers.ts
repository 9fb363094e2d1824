import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { parseSync } from 'oxc-parser';

/** What each room may import of ours; packages are free. The design's table, and nothing beside it. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  'src/identity': [],
  'src/policy': ['src/identity', 'src/keyset'],
  'src/keyset': [],
  'src/quarantine': ['src/identity', 'src/policy'],
  'src/attestation': ['src/identity', 'src/mesh', 'src/files'],
  'src/authority': ['src/identity', 'src/files'],
  'src/pkcs11': [],
  'src/mesh': ['src/identity', 'src/policy'],
  'src/sources/manifests': [],
  'src/kubernetes': [],
  'src/cluster': [
    'src/identity',
    'src/authority',
    'src/kubernetes',
    'src/mesh',
    'src/policy',
    'src/status',
    'src/quarantine',
  ],
  'src/sources/kubernetes': ['src/kubernetes', 'src/mesh', 'src/policy', 'src/files'],
  'src/sources/directory': ['src/mesh', 'src/policy', 'src/sources/manifests', 'src/files'],
  'src/proxy': ['src/identity', 'src/policy', 'src/authority', 'src/mesh'],
  'src/discovery': [],
  'src/admission': ['src/policy', 'src/http'],
  'src/status': ['src/policy', 'src/discovery'],
  'src/certificates': ['src/identity', 'src/attestation', 'src/authority'],
  'src/audit': [],
  'src/telemetry': ['src/text', 'src/http'],
  'src/operator': [],
  'src/federation': ['src/identity', 'src/files', 'src/http'],
  'src/files': [],
  'src/expiry': [],
  'src/text': [],
  'src/http': [],
  'src/http2': [],
  'src/jwks': ['src/files', 'src/keyset'],
  cmd: ['*'],
  test: ['*'],
  proto: [],
};

/** Rooms that touch no process, file, network or clock: everything comes in as a value. */
const pure: ReadonlySet<string> = new Set([
  'src/identity',
  'src/keyset',
  'src/quarantine',
  'src/expiry',
  'src/policy',
  'src/mesh',
  'src/discovery',
]);
const impure = /^node:(fs|net|http|https|http2|tls|child_process|dns|os|timers|worker_threads)\b/u;
/** The clock and chance of the process, which a pure room is handed instead. */
const ambient = /\b(Date\.now|Math\.random|performance\.now)\b|new Date\(\)/u;
/** What impure modules have that only computes. */
const pureFunctions: ReadonlySet<string> = new Set(['isIP', 'isIPv4', 'isIPv6', 'constants']);

function isTest(file: string): boolean {
  return /(\.test|\/testing)\.ts$/u.test(file);
}

/** Every breach of the layering below `root`, in words; empty: none. */
export function breaches(root: string): readonly string[] {
  const rooms = Object.keys(allowed);
  const roomOf = (file: string): string | undefined =>
    rooms.filter((room) => file.startsWith(`${room}/`)).toSorted((a, b) => b.length - a.length)[0];
  const found: string[] = [];
  for (const file of ['src', 'cmd', 'test', 'proto'].flatMap((top) => typescriptFiles(root, top))) {
    const room = roomOf(file);
    if (room === undefined) {
      found.push(`${file} is in no room of the design`);
      continue;
    }
    const text = readFileSync(join(root, file), 'utf8');
    const used = ambient.exec(text)?.[0];
    if (pure.has(room) && !isTest(file) && used !== undefined) {
      found.push(`${file} uses ${used}: ${room} reads no clock but the one it is handed`);
    }
    for (const { specifier, names } of importsOf(file, text)) {
      const computes = names.length > 0 && names.every((name) => pureFunctions.has(name));
      if (pure.has(room) && !isTest(file) && impure.test(specifier) && !computes) {
        found.push(`${file} imports ${specifier}: ${room} does no I/O`);
      }
      if (!specifier.startsWith('.') || specifier === '../package.json') continue;
      const target = relative(root, resolve(dirname(join(root, file)), specifier));
      const other = roomOf(target);
      if (other === room || isTest(file)) continue;
      const free = allowed[room]?.includes('*') === true;
      if (other === undefined || !(free || allowed[room]?.includes(other) === true)) {
        found.push(`${file} imports ${target}: ${room} may not import ${other ?? 'it'}`);
      } else if (other.startsWith('src/') && target !== `${other}/index.ts`) {
        found.push(`${file} imports ${target}: a room's door is its index.ts`);
      }
    }
  }
  return found;
}

function typescriptFiles(root: string, top: string): string[] {
  return readdirSync(join(root, top), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(top, name));
}

interface Import {
  readonly specifier: string;
  /** Imported by name; empty: all of it. */
  readonly names: readonly string[];
}

function importsOf(path: string, text: string): readonly Import[] {
  const { module, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message ?? 'cannot be parsed'}`);
  const imports: Import[] = module.staticImports.map(({ moduleRequest, entries }) => ({
    specifier: moduleRequest.value,
    names: entries.map(({ importName }) => importName.name ?? '*'),
  }));
  for (const { entries } of module.staticExports) {
    for (const { moduleRequest } of entries) {
      if (moduleRequest !== null) imports.push({ specifier: moduleRequest.value, names: [] });
    }
  }
  for (const { moduleRequest } of module.dynamicImports) {
    const literal = /^['"](.*)['"]$/u.exec(text.slice(moduleRequest.start, moduleRequest.end))?.[1];
    if (literal !== undefined) imports.push({ specifier: literal, names: [] });
  }
  return imports;
}
