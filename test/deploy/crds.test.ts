import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseAuthorizationPolicy, renderIssues } from '../../src/policy/index.ts';
import { at, ApiError, type KubeObject } from '../cluster/api-client.ts';
import { TestCluster } from '../cluster/cluster.ts';
import { batch } from '../equality/generate/batch.ts';
import { crdFiles } from './chart.ts';
import { damaged, policies } from './documents.ts';

const resource = 'security.countersign.dev/v1/authorizationpolicies';
let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start();
  for (const file of crdFiles()) {
    const { code, stderr } = await cluster.kubectl(['apply', '--server-side', '--filename', file]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  }
  await cluster.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s']);
  await cluster.make.namespace('shop');
}, 600_000);

afterAll(async () => {
  await cluster.dispose();
});

/** What the API server says against a policy, as if it were created; undefined: it takes it. */
async function refusal(document: object): Promise<string | undefined> {
  try {
    await cluster.operator.create(`${at(resource, 'shop')}?dryRun=All`, document);
    return undefined;
  } catch (error) {
    if (error instanceof ApiError && error.status === 422) return error.message;
    throw error;
  }
}

function policy(spec: object): object {
  return {
    apiVersion: 'security.countersign.dev/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec,
  };
}

describe('the CRDs, in a real API server', () => {
  it('are structural, within the budget of CEL, and complete', async () => {
    const crds = await cluster.operator.list(at('apiextensions.k8s.io/v1/customresourcedefinitions'));
    expect(crds).toHaveLength(3);
    for (const { status } of crds as unknown as { status: { conditions: Condition[] } }[]) {
      const held = status.conditions
        .filter((condition) => condition.status === 'True')
        .map(({ type }) => type);
      expect(held.toSorted()).toEqual(['Established', 'NamesAccepted']);
    }
  });

  it.each(policies.accepted)('takes %s', async (_name, text) => {
    const document = parse(text) as object;
    const parsed = parseAuthorizationPolicy(document);
    expect(renderIssues(parsed.issues.filter(({ severity }) => severity === 'error'))).toBe('');
    expect(await refusal(document)).toBeUndefined();
  });

  it.each(policies.refused)('refuses %s, as the parser does', async (_name, spec, message) => {
    const document = policy(parse(spec) as object);
    expect(parseAuthorizationPolicy(document).ok).toBe(false);
    expect(await refusal(document)).toContain(message);
  });

  it('takes every generated policy that the parser takes', async () => {
    const documents = batch(20_261_122, 1_500).flatMap(({ set }) => set.documents);
    const own = documents.map((document) => ({
      ...document,
      apiVersion: 'security.countersign.dev/v1',
      metadata: { name: document.metadata.name, namespace: 'shop' },
      spec: JSON.parse(JSON.stringify(document.spec).replaceAll('$PORT', '8080')) as object,
    }));
    const taken = own.filter((document) => parseAuthorizationPolicy(document).ok);
    expect(taken.length).toBeGreaterThan(100);
    for (const document of taken) expect(await refusal(document), JSON.stringify(document)).toBeUndefined();
  });

  it('refuses no damaged policy that the parser takes', async () => {
    const judged = { both: 0, parserAlone: 0, neither: 0 };
    for (const spec of fc.sample(damaged(), { seed: 5, numRuns: 600 })) {
      const document = policy(spec);
      const parsed = parseAuthorizationPolicy(document).ok;
      const said = await refusal(document);
      if (parsed) expect(said, JSON.stringify(document)).toBeUndefined();
      judged[said === undefined ? (parsed ? 'neither' : 'parserAlone') : 'both'] += 1;
    }
    // Not a proof of nothing: most damage is refused by both, some by the parser alone.
    expect(judged.both).toBeGreaterThan(150);
    expect(judged.neither).toBeGreaterThan(20);
  });

  it('keeps an unknown field, so that the parser can refuse it', async () => {
    const document = policy({ rules: [{ to: [{ operation: { methods: ['GET'], pathes: ['/x'] } }] }] });
    const created = await cluster.operator.create(at(resource, 'shop'), document);
    expect(created['spec']).toMatchObject({ rules: [{ to: [{ operation: { pathes: ['/x'] } }] }] });
    const parsed = parseAuthorizationPolicy({ ...created, metadata: { name: 'p', namespace: 'shop' } });
    expect(renderIssues(parsed.issues)).toContain('unknown field "pathes"; did you mean paths?');
    await cluster.operator.delete(at(resource, 'shop', 'p'));
  });
});

describe('kubectl', () => {
  it('shows what an operator looks for, by every name of the kind', async () => {
    const { code, stderr } = await cluster.kubectl(['apply', '--filename', '-'], policies.accepted[0]?.[1]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await setStatus('full', [
      { type: 'Accepted', status: 'True', reason: 'Valid', message: '' },
      { type: 'Programmed', status: 'False', reason: 'Pending', message: '11/12 proxies' },
    ]);
    for (const name of ['ap', 'authz', 'authorizationpolicies', 'countersign', 'mesh']) {
      const { stdout } = await cluster.kubectl(['--namespace', 'shop', 'get', name]);
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => line.split(/\s{2,}/u));
      expect(lines[0]).toEqual(['NAME', 'ACTION', 'MODE', 'ACCEPTED', 'PROGRAMMED', 'AGE']);
      expect(lines[1]?.slice(0, 5)).toEqual([
        expect.stringMatching(/full$/u),
        'DENY',
        'Shadow',
        'True',
        'False',
      ]);
    }
  });

  it('knows the short names and columns of the other two', async () => {
    const apply = async (kind: string, spec: object): Promise<void> => {
      const document = { apiVersion: 'security.countersign.dev/v1', kind, metadata: { name: 'x' }, spec };
      const text = JSON.stringify(document);
      const ran = await cluster.kubectl(['--namespace', 'shop', 'apply', '--filename', '-'], text);
      expect(ran).toMatchObject({ code: 0, stderr: '' });
    };
    await apply('PeerAuthentication', { mtls: { mode: 'PERMISSIVE' } });
    await apply('RequestAuthentication', {
      jwtRules: [{ issuer: 'https://a.example', jwks: '{"keys":[]}' }],
    });
    const get = async (name: string): Promise<string> =>
      (await cluster.kubectl(['--namespace', 'shop', 'get', name])).stdout;
    expect(await get('pa')).toMatch(/^NAME\s+MODE\s+ACCEPTED\s+PROGRAMMED\s+AGE\nx\s+PERMISSIVE /u);
    expect(await get('ra')).toMatch(
      /^NAME\s+ISSUERS\s+ACCEPTED\s+PROGRAMMED\s+AGE\nx\s+https:\/\/a\.example /u,
    );
  });

  it('explains every field', async () => {
    for (const { spec } of (await cluster.operator.list(
      at('apiextensions.k8s.io/v1/customresourcedefinitions'),
    )) as unknown as { spec: CrdSpec }[]) {
      const schema = spec.versions[0].schema.openAPIV3Schema;
      for (const path of undescribed(schema, '')) expect.soft(path, 'has no description').toBe('');
    }
    const { stdout } = await cluster.kubectl([
      'explain',
      'authorizationpolicies.spec.rules.from.source.serviceAccounts',
      '--api-version=security.countersign.dev/v1',
    ]);
    expect(stdout.replaceAll(/\s+/gu, ' ')).toContain(
      "<name> of the policy's own namespace or <namespace>/<name>",
    );
  });

  it('is told why, in the words of the language', async () => {
    const text = JSON.stringify(policy({ action: 'DENY' }));
    const { code, stderr } = await cluster.kubectl(['apply', '--filename', '-'], text);
    expect(code).toBe(1);
    expect(stderr).toContain(
      'a DENY policy without rules denies nothing; write rules: [{}] to deny everything',
    );
  });

  it('cannot change the status by an apply, nor the spec by a status', async () => {
    const before = await readStatus('full');
    const document = {
      ...(parse(policies.accepted[0]?.[1] ?? '') as KubeObject),
      status: { conditions: [] },
    };
    await cluster.kubectl(['apply', '--filename', '-'], JSON.stringify(document));
    expect(await readStatus('full')).toEqual(before);
    await expect(setStatus('full', [{ type: 'Accepted', status: 'Perhaps' }])).rejects.toThrow(
      /status\.conditions\[0\]\.status: Unsupported value/u,
    );
  });
});

interface Condition {
  readonly type: string;
  readonly status: string;
}

interface CrdSpec {
  readonly versions: readonly [{ readonly schema: { readonly openAPIV3Schema: Schema } }];
}

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
}

function undescribed(schema: Schema, path: string): string[] {
  const fields = Object.entries(schema.properties ?? {});
  const bare = fields.filter(([name, field]) => field.description === undefined && name !== 'metadata');
  const inner = fields.flatMap(([name, field]) => undescribed(field, `${path}.${name}`));
  const nested = [schema.items, schema.additionalProperties].flatMap((each) =>
    each === undefined ? [] : undescribed(each, `${path}[]`),
  );
  return [...bare.map(([name]) => `${path}.${name}`), ...inner, ...nested];
}

async function setStatus(name: string, conditions: readonly object[]): Promise<void> {
  const lastTransitionTime = '2026-11-22T00:00:00Z';
  await cluster.operator.merge(at(resource, 'shop', name, 'status'), {
    status: {
      observedGeneration: 1,
      conditions: conditions.map((each) => ({ lastTransitionTime, ...each })),
    },
  });
}

async function readStatus(name: string): Promise<{ conditions?: unknown }> {
  return (await cluster.operator.get(at(resource, 'shop', name)))['status'] as object;
}
