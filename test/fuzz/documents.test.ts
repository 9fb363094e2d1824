import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DOCUMENTS, documents, type Kind } from './documents.ts';
import { OURS, throughParser, type Parsers } from './parsers.ts';
import { isMapping } from './reading.ts';

const kinds = Object.keys(DOCUMENTS) as Kind[];
/** One seed for what has to hold and for what has to be noticed. */
const tried = fc.sample(documents(), { seed: 4, numRuns: 4_000 });

describe('any document beside a policy', () => {
  it.each(kinds)('seeds of %s are good ones', (kind) => {
    const taken = DOCUMENTS[kind].filter((value) =>
      throughParser({ kind, value: kind === 'keys' ? JSON.stringify(value) : value }),
    );
    expect(taken.length).toBe(kind === 'keys' ? 2 : DOCUMENTS[kind].length);
  });

  it('is read as it says or refused, and no secret of it is told', () => {
    const counts = new Map<string, number>();
    for (const written of tried) {
      const what = `${written.kind} ${throughParser(written) ? 'taken' : 'refused'}`;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
    // What is never taken, or always, would prove nothing.
    for (const kind of kinds)
      for (const what of ['taken', 'refused'])
        expect(counts.get(`${kind} ${what}`) ?? 0, `${kind} ${what}`).toBeGreaterThan(50);
  });
});

type Fields = Readonly<Record<string, unknown>>;

/** A value with each mapping in it changed, from the inside out. */
function changed(value: unknown, change: (fields: Fields) => unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => changed(entry, change));
  if (!isMapping(value) || value instanceof Map) return value;
  return change(
    Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, changed(inner, change)])),
  );
}

function without(name: string): (fields: Fields) => Fields {
  return (fields) => Object.fromEntries(Object.entries(fields).filter(([each]) => each !== name));
}

/** What the parsers and compilers could get wrong, and what the fuzz says to it. */
const DEFECTS: Readonly<Record<string, readonly [Partial<Parsers>, RegExp]>> = {
  'an odd document is thrown at': [
    {
      PeerAuthentication: (value, options) => {
        const { spec } = value as { readonly spec: object };
        return OURS.PeerAuthentication(Object.keys(spec).length > 20 ? {} : value, options);
      },
    },
    /undefined or null/u,
  ],
  'a private key is repeated': [
    {
      keys: (text) => {
        const read = OURS.keys(text);
        return read.ok ? read : { ...read, fault: `${read.fault}: ${text}` };
      },
    },
    /a key is repeated/u,
  ],
  'a private member is kept': [
    {
      keys: (text) => {
        const read = OURS.keys(text);
        return read.ok && read.secrets.length > 0 ? { ...read, text } : read;
      },
    },
    /a key is repeated/u,
  ],
  'a document is repeated that nobody could read': [
    {
      RequestAuthentication: (value) => {
        const parsed = OURS.RequestAuthentication(value);
        if (parsed.ok) return parsed;
        const found = JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? 0 : inner));
        return {
          ...parsed,
          issues: [{ severity: 'error', path: '', message: `found ${found}`.slice(0, 3_999) }],
        };
      },
    },
    /a secret is repeated/u,
  ],
  'a header of a request is repeated': [
    {
      mesh: (value) => {
        const parsed = OURS.mesh(value);
        const message = JSON.stringify(
          parsed.ok ? (parsed.settings.authorizers?.[1]?.http?.addedHeaders ?? '') : '',
        );
        return {
          ...parsed,
          issues: [...parsed.issues, { severity: parsed.ok ? 'warning' : 'error', path: '', message }],
        };
      },
    },
    /a secret is repeated/u,
  ],
  'an unknown field is passed over': [
    { RequestAuthentication: (value) => OURS.RequestAuthentication(changed(value, without('jwtRulesx'))) },
    /unknown field/u,
  ],
  'an audience is lost': [
    { RequestAuthentication: (value) => OURS.RequestAuthentication(changed(value, without('audiences'))) },
    /audiences other than written/u,
  ],
  'the last issuer has no provider': [
    {
      compileRequest: (policies, jwksOf) =>
        OURS.compileRequest(
          policies.map((policy) => ({ ...policy, jwtRules: policy.jwtRules.slice(0, -1) })),
          jwksOf,
        ),
    },
    /rules without a filter|neither a provider nor a note/u,
  ],
  'keys that are not there are nobody’s business': [
    { compileRequest: (policies, jwksOf) => ({ ...OURS.compileRequest(policies, jwksOf), notes: [] }) },
    /neither a provider nor a note/u,
  ],
  'a mode that does not exist is none': [
    {
      PeerAuthentication: (value, options) =>
        OURS.PeerAuthentication(
          changed(value, (fields) =>
            typeof fields['mode'] === 'string' &&
            !['STRICT', 'PERMISSIVE', 'DISABLE'].includes(fields['mode'])
              ? without('mode')(fields)
              : fields,
          ),
          options,
        ),
    },
    /a mode that does not exist/u,
  ],
  'the mode of a port is lost': [
    {
      PeerAuthentication: (value, options) => {
        const parsed = OURS.PeerAuthentication(value, options);
        return parsed.ok ? { ...parsed, policy: { ...parsed.policy, ports: new Map() } } : parsed;
      },
    },
    /otherwise than/u,
  ],
  'STRICT takes plaintext': [
    {
      compilePeers: (modes) =>
        OURS.compilePeers(modes.mode === 'STRICT' ? { ...modes, mode: 'PERMISSIVE' } : modes),
    },
    /takes plaintext otherwise than "STRICT"/u,
  ],
  'an open connection keeps what it had': [
    {
      compilePeerHttp: (modes) => OURS.compilePeerHttp({ ...modes, ports: new Map() }),
    },
    /requests to port/u,
  ],
  'an authorizer fails open': [
    {
      mesh: (value) => {
        const parsed = OURS.mesh(value);
        if (!parsed.ok) return parsed;
        const authorizers = (parsed.settings.authorizers ?? []).map((each) => ({ ...each, failOpen: true }));
        return { ...parsed, settings: { ...parsed.settings, authorizers } };
      },
    },
    /fails open otherwise/u,
  ],
  'an expectation is lost': [
    {
      cases: (value, settings) => {
        const parsed = OURS.cases(value, settings);
        return parsed.ok ? { ...parsed, cases: parsed.cases.slice(1) } : parsed;
      },
    },
    /cases of/u,
  ],
  'a denial is expected where it is written otherwise': [
    {
      cases: (value, settings) => {
        const parsed = OURS.cases(value, settings);
        return parsed.ok
          ? { ...parsed, cases: parsed.cases.map((each) => ({ ...each, expect: 'ALLOW' as const })) }
          : parsed;
      },
    },
    /expects otherwise/u,
  ],
};

/** Whether the fuzz can fail. */
describe('a defect of a parser is found', () => {
  it.each(Object.entries(DEFECTS))('%s', (_name, [defect, complaint]) => {
    let found: string | undefined;
    for (const written of tried) {
      found = complaintAbout(() => throughParser(written, { ...OURS, ...defect }));
      if (found !== undefined) break;
    }
    expect(found).toMatch(complaint);
  });
});

function complaintAbout(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
