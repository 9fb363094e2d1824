import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { controlPlaneCommand } from '../../cmd/control-plane/command.ts';
import { settingsOf } from '../../cmd/control-plane/mesh-config.ts';
import packageJson from '../../package.json' with { type: 'json' };
import type { KubeObject } from '../cluster/api-client.ts';
import { chart, helm, namespace, only, render, type Values } from './chart.ts';

interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
}

const everything: Values = {
  replicas: 3,
  webhook: { timeoutSeconds: 7 },
  monitoring: { serviceMonitor: { enabled: true, labels: { release: 'prometheus' } } },
  networkPolicy: {
    metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }],
    extraEgress: [{ to: [{ ipBlock: { cidr: '192.0.2.0/24' } }] }],
  },
  image: {
    repository: 'registry.example/countersign',
    digest: `sha256:${'a'.repeat(64)}`,
    pullSecrets: ['key'],
  },
  serverNames: ['countersign.example'],
  meshConfig: { federation: [], trustDomainAliases: ['former.example'] },
  bundleEndpoint: { enabled: true, profile: 'https_web', secretName: 'endpoint' },
  bindAddress: '[::]',
  resources: { requests: { cpu: 1 }, limits: { memory: '2Gi' } },
  extraArgs: ['--token-issuer=https://issuer.example'],
};

function podOf(objects: readonly KubeObject[]): { containers: readonly [Container]; affinity: object } {
  const spec = only(objects, 'Deployment')['spec'] as { template: { spec: never } };
  return spec.template.spec;
}

describe('the chart', () => {
  let preset: readonly KubeObject[];
  let full: readonly KubeObject[];
  beforeAll(async () => {
    [preset, full] = await Promise.all([render(), render(everything)]);
  });

  it.each([{}, everything])('passes helm lint, as strict as it gets', async (values) => {
    const { code, stdout } = await helm(['lint', '--strict', chart], values);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('0 chart(s) failed') });
  });

  it('renders what a control plane needs, and nothing of what is not asked for', () => {
    expect(preset.map(({ kind, metadata }) => `${kind} ${metadata.name}`).toSorted()).toEqual([
      'ClusterRole countersign-countersign-system',
      'ClusterRoleBinding countersign-countersign-system',
      'CustomResourceDefinition authorizationpolicies.security.countersign.dev',
      'CustomResourceDefinition peerauthentications.security.countersign.dev',
      'CustomResourceDefinition requestauthentications.security.countersign.dev',
      'Deployment countersign',
      'NetworkPolicy countersign',
      'PodDisruptionBudget countersign',
      'Role countersign',
      'RoleBinding countersign',
      'Service countersign',
      'ServiceAccount countersign',
      'ValidatingWebhookConfiguration countersign-countersign-system',
    ]);
  });

  it.each([
    [{ crds: { install: false } }, 'CustomResourceDefinition'],
    [{ networkPolicy: { enabled: false } }, 'NetworkPolicy'],
    [{ podDisruptionBudget: { enabled: false } }, 'PodDisruptionBudget'],
    [{ webhook: { enabled: false } }, 'ValidatingWebhookConfiguration'],
  ])('leaves out what %j says', async (values, kind) => {
    expect((await render(values)).map((object) => object.kind)).not.toContain(kind);
  });

  it('names only flags that the control plane has', () => {
    const known = controlPlaneCommand().options.map(({ long }) => long);
    for (const objects of [preset, full]) {
      const [command, ...flags] = podOf(objects).containers[0].args;
      expect(command).toBe('control-plane');
      for (const flag of flags) expect(known).toContain(flag.split('=')[0]);
    }
  });

  it('has one set of ports in flags, pod, Service and NetworkPolicy', async () => {
    for (const [objects, ports] of [
      [await render({ webhook: { enabled: false } }), { 'grpc-xds': 15_012, 'http-admin': 15_014 }],
      [preset, { 'grpc-xds': 15_012, 'http-admin': 15_014, 'https-webhook': 15_017 }],
      [
        await render({ bundleEndpoint: { enabled: true } }),
        { 'grpc-xds': 15_012, 'http-admin': 15_014, 'https-webhook': 15_017, 'https-bundle': 8_443 },
      ],
    ] as const) {
      const listens = podOf(objects).containers[0].args.filter((arg) => /:\d+$/u.test(arg));
      expect(listens.map((arg) => Number(arg.split(':').at(-1)))).toEqual(Object.values(ports));
      const container = podOf(objects).containers[0].ports;
      expect(Object.fromEntries(container.map(({ name, containerPort }) => [name, containerPort]))).toEqual(
        ports,
      );
      const service = only(objects, 'Service')['spec'] as { ports: readonly Record<string, unknown>[] };
      expect(Object.fromEntries(service.ports.map(({ port, targetPort }) => [targetPort, port]))).toEqual(
        ports,
      );
      const policy = only(objects, 'NetworkPolicy')['spec'] as {
        ingress: readonly { ports: readonly { port: string }[] }[];
      };
      const named = policy.ingress.flatMap((rule) => rule.ports.map(({ port }) => port));
      for (const port of named) expect(Object.keys(ports)).toContain(port);
      for (const port of ['https-webhook', 'https-bundle']) expect(named.includes(port)).toBe(port in ports);
    }
  });

  it('gives the control plane the configuration of the mesh as a file that it takes', () => {
    const map = only(full, 'ConfigMap', 'countersign-mesh');
    const [file = ''] = Object.keys(map['data'] as object);
    const { settings, issues } = settingsOf((map['data'] as Record<string, string>)[file] ?? '', {
      stated: {},
      preset: { trustDomain: 'cluster.local', rootNamespace: 'countersign-system', defaultAction: 'deny' },
    });
    expect({ issues, settings }).toMatchObject({
      issues: [],
      settings: { trustDomainAliases: ['former.example'] },
    });
    const [{ args }] = podOf(full).containers;
    expect(args).toContain(`--mesh-config=/etc/countersign/mesh/${file}`);
    expect(only(full, 'Deployment')).toMatchObject({
      spec: {
        template: { spec: { volumes: [{}, { configMap: { name: map.metadata.name } }, { secret: {} }] } },
      },
    });
    expect(preset.map(({ kind }) => kind)).not.toContain('ConfigMap');
  });

  it.each([
    [{ profile: 'https_web' }, 'secretName'],
    [{ profile: 'https_spiffe', secretName: 'endpoint' }, 'secretName'],
    [{ profile: 'http' }, 'profile'],
  ])('refuses a bundle endpoint that is %j', async (bundleEndpoint, field) => {
    await expect(render({ bundleEndpoint: { enabled: true, ...bundleEndpoint } })).rejects.toThrow(field);
  });

  it('lets any address reach the webhook: the API server is no pod that a NetworkPolicy could select', () => {
    const { ingress } = only(preset, 'NetworkPolicy')['spec'] as { ingress: readonly object[] };
    expect(ingress).toContainEqual({ ports: [{ port: 'https-webhook', protocol: 'TCP' }] });
  });

  it('runs two replicas that know their namespace, with rights to what they share under its names', () => {
    expect(only(preset, 'Deployment')['spec']).toMatchObject({ replicas: 2 });
    expect(podOf(preset).containers[0].args).toContain(`--namespace=${namespace}`);
    const names = (objects: readonly KubeObject[]): readonly string[] =>
      (objects as readonly { rules?: readonly Rule[] }[])
        .flatMap(({ rules = [] }) => rules)
        .flatMap(({ resourceNames = [] }) => resourceNames)
        .toSorted();
    expect(names(preset)).toEqual([
      'countersign',
      'countersign-cluster.local',
      'countersign-countersign-system',
      'countersign-root',
      'countersign-trust-bundle',
      'countersign-trust-bundle',
    ]);
  });

  it("lets the control plane read the Secret with the operator's CA, and nothing more of it", async () => {
    const objects = await render({ ca: { secretName: 'cacerts' } });
    expect(podOf(objects).containers[0].args).toContain('--ca-secret=cacerts');
    const rules = (objects as readonly { rules?: readonly Rule[] }[]).flatMap(({ rules: own = [] }) => own);
    expect(rules.filter(({ resourceNames }) => resourceNames?.includes('cacerts'))).toEqual([
      {
        apiGroups: [''],
        resources: ['secrets'],
        resourceNames: ['cacerts'],
        verbs: ['get', 'list', 'watch'],
      },
    ]);
    expect(podOf(preset).containers[0].args.join()).not.toContain('--ca-');
  });

  it('may write a ClusterTrustBundle of its own trust domain alone', async () => {
    const { rules } = only(await render({ trustDomain: 'prod.example' }), 'ClusterRole') as unknown as {
      rules: readonly Rule[];
    };
    const named = rules.filter(({ resources }) => resources.includes('clustertrustbundles'));
    expect(named.map(({ resourceNames }) => resourceNames)).toEqual([
      undefined,
      ['countersign-prod.example'],
    ]);
  });

  it('takes the image by digest before the tag', () => {
    expect(podOf(preset).containers[0].image).toBe('countersign:0.1.0');
    expect(podOf(full).containers[0].image).toBe(`registry.example/countersign@sha256:${'a'.repeat(64)}`);
  });

  it('gives the control plane no right to read Secrets of other namespaces, and no wildcard', () => {
    for (const { kind, rules } of full as readonly { kind?: string; rules?: readonly Rule[] }[]) {
      if (kind !== 'ClusterRole' && kind !== 'Role') continue;
      for (const rule of rules ?? []) {
        expect([...rule.apiGroups, ...rule.resources, ...rule.verbs]).not.toContain('*');
        if (kind === 'ClusterRole') expect(rule.resources).not.toContain('secrets');
        if (rule.resources.includes('secrets') && !rule.verbs.includes('create'))
          expect(rule.resourceNames).toEqual(['countersign-root']);
      }
    }
  });

  it('has a webhook that refuses what nobody judged, and leaves its own namespace and its caBundle alone', () => {
    const { webhooks } = only(full, 'ValidatingWebhookConfiguration') as unknown as {
      webhooks: readonly [Record<string, unknown>];
    };
    expect(webhooks[0]).toMatchObject({
      failurePolicy: 'Fail',
      sideEffects: 'None',
      namespaceSelector: {
        matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: [namespace] }],
      },
    });
    expect(JSON.stringify(webhooks)).not.toContain('caBundle');
  });

  it('has the version of the package, and a schema for each value and no other', () => {
    expect(readYaml('Chart.yaml')['appVersion']).toBe(packageJson.version);
    const schema = readYaml('values.schema.json') as ValueSchema;
    const { global: ofHelm, ...own } = schema.properties ?? {};
    expect(ofHelm).toBeDefined();
    expect(namesIn(own)).toEqual(keysIn(readYaml('values.yaml'), own));
  });

  it.each<[Values, RegExp]>([
    [{ replica: 2 }, /additional properties? 'replica' not allowed/u],
    [{ networkPolicy: { enable: false } }, /additional properties? 'enable' not allowed/u],
    [{ replicas: 0 }, /replicas.*minimum/su],
    [{ defaultAction: 'ALLOW' }, /defaultAction.*'deny', 'allow'/su],
    [{ trustDomain: 'Cluster.Local' }, /trustDomain.*does not match pattern/su],
    [{ svidTtl: 3600 }, /svidTtl.*got number, want string/su],
    [{ image: { digest: 'sha256:abc' } }, /digest.*does not match pattern/su],
    [{ networkPolicy: { apiServer: { cidrs: ['everywhere'] } } }, /cidrs\/0.*does not match pattern/su],
    [{ extraArgs: ['serve'] }, /extraArgs\/0.*does not match pattern/su],
    [{ sharedAuthority: { enabled: true } }, /additional properties? 'sharedAuthority' not allowed/u],
  ])('refuses %j and says why', async (values, message) => {
    await expect(render(values)).rejects.toThrow(message);
  });
});

interface ValueSchema {
  readonly properties?: Readonly<Record<string, ValueSchema>>;
}

function readYaml(name: string): Values {
  return parse(readFileSync(`${chart}/${name}`, 'utf8')) as Values;
}

/** Paths of all properties of a schema. */
function namesIn(properties: Readonly<Record<string, ValueSchema>>, path = ''): string[] {
  const names = Object.entries(properties).flatMap(([name, { properties: inner = {} }]) => [
    `${path}${name}`,
    ...namesIn(inner, `${path}${name}.`),
  ]);
  return names.toSorted();
}

/** Paths of all values, as deep as the schema names them. */
function keysIn(values: Values, properties: Readonly<Record<string, ValueSchema>>, path = ''): string[] {
  const names = Object.entries(values).flatMap(([name, value]) => {
    const inner = properties[name]?.properties;
    const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value);
    return [
      `${path}${name}`,
      ...(inner && isMapping ? keysIn(value as Values, inner, `${path}${name}.`) : []),
    ];
  });
  return names.toSorted();
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}
