import { describe, expect, it } from 'vitest';
import { refusedChanges, settingsOf, type ReadSettings } from './mesh-config.ts';

const preset = {
  trustDomain: 'cluster.local',
  rootNamespace: 'countersign-system',
  defaultAction: 'deny',
} as const;
const read = (text: string, stated: object = {}): ReadSettings => settingsOf(text, { stated, preset });
const errors = ({ issues }: ReadSettings): string[] =>
  issues.filter(({ severity }) => severity === 'error').map(({ path, message }) => `${path}: ${message}`);

describe('flags and the file of --mesh-config', () => {
  it('together make the settings; what neither says is as preset', () => {
    const { settings } = read('defaultAction: allow\ntrustDomainAliases: [old]\n', { trustDomain: 'td' });
    expect(settings).toEqual({
      trustDomain: 'td',
      rootNamespace: 'countersign-system',
      defaultAction: 'allow',
      trustDomainAliases: ['old'],
    });
  });

  it('F-3: do not federate with the own trust domain', () => {
    const text = JSON.stringify({
      federation: [
        {
          trustDomain: 'td',
          bundleEndpointURL: 'https://a.example/',
          bundleEndpointProfile: { type: 'https_web' },
        },
      ],
    });
    expect(errors(read(text))).toEqual([]);
    expect(errors(read(text, { trustDomain: 'td' }))).toEqual([
      "federation[0].trustDomain: td is this mesh's own trust domain: its bundle comes from no endpoint",
    ]);
  });

  it('may say the same, and not contradict each other', () => {
    const text = 'trustDomain: a\nrootNamespace: b\ndefaultAction: deny\n';
    const same = { trustDomain: 'a', rootNamespace: 'b', defaultAction: 'deny' };
    expect(read(text, same).settings).toEqual(same);
    expect(errors(read(text, { trustDomain: 'x', rootNamespace: 'y', defaultAction: 'allow' }))).toEqual([
      'trustDomain: is "a" here and "x" in --trust-domain: say the same in both, or leave one out',
      'rootNamespace: is "b" here and "y" in --root-namespace: say the same in both, or leave one out',
      'defaultAction: is "deny" here and "allow" in --default-action: say the same in both, or leave one out',
    ]);
  });

  it.each([
    ['', 'holds no JSON or YAML mapping'],
    ['[a]', 'holds no JSON or YAML mapping'],
    ['a: [', 'is not valid YAML: line 1: '],
    ['a: &a [*a]', 'an alias inside of what it stands for'],
    ['trustDomian: a', 'did you mean trustDomain?'],
  ])('%j is refused', (text, message) => {
    const result = read(text);
    expect(result.settings).toBeUndefined();
    expect(errors(result).join()).toContain(message);
  });
});

it('while the control plane runs, what identities and indexes were made with stays', () => {
  const running = { ...preset, trustDomainAliases: ['old'] };
  expect(refusedChanges(running, { ...preset, defaultAction: 'allow' })).toEqual([]);
  expect(refusedChanges(running, { ...running, trustDomain: 'x', rootNamespace: 'y' })).toMatchObject([
    { path: 'trustDomain', message: expect.stringMatching(/from cluster\.local to x: restart it/u) },
    { path: 'rootNamespace', message: expect.stringMatching(/restart it/u) },
  ]);
});
