import { beforeAll, describe, expect, it } from 'vitest';
import { FakeCa } from '../../test/fake/ca.ts';
import { TrustDomain } from '../identity/index.ts';
import { lintTogether, parseAuthorizationPolicy, parseMeshConfig } from './index.ts';

const id = 'spiffe://partner.example/ns/countersign-system/sa/control-plane';
let bundle = '';
beforeAll(async () => {
  bundle = JSON.stringify((await FakeCa.root(TrustDomain.parse('partner.example'))).bundle().toJSON());
});

function relation(changes: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
  return {
    trustDomain: 'partner.example',
    bundleEndpointURL: 'https://bundles.partner.example/',
    bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: id },
    trustDomainBundle: bundle,
    ...changes,
  };
}
function problems(...federation: readonly unknown[]): readonly string[] {
  return parseMeshConfig({ federation }).issues.map(({ path, message }) => `${path}: ${message}`);
}

describe('federation in a mesh configuration', () => {
  it('F-5: names trust domain, URL and profile, and nothing else decides', () => {
    expect(parseMeshConfig({ federation: [relation()] })).toEqual({
      ok: true,
      issues: [],
      settings: {
        federation: [
          {
            trustDomain: 'partner.example',
            url: 'https://bundles.partner.example/',
            profile: { type: 'https_spiffe', endpointSpiffeId: id },
            bootstrapBundle: bundle,
          },
        ],
      },
    });
    expect(parseMeshConfig({ federation: [] })).toMatchObject({ ok: true, settings: {} });
  });

  it.each([
    [{ trustDomain: undefined }, /^federation\[0\]\.trustDomain: The trust domain name is empty/u],
    [{ trustDomain: 'Partner.example' }, /trustDomain: .*lower case/u],
    [{ bundleEndpointURL: undefined }, /bundleEndpointURL: expected an https URL/u],
    [{ bundleEndpointProfile: undefined }, /bundleEndpointProfile: expected a mapping/u],
    [{ bundleEndpointProfile: { type: 'https' } }, /type: expected https_web or https_spiffe/u],
    [{ bundleEndpointProfile: { type: 'https_spiffe' } }, /endpointSPIFFEID: .*does not begin with/u],
    [
      { bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: 'spiffe://partner.example' } },
      /endpointSPIFFEID: .*with a path/u,
    ],
    [{ bundleEndpointProfile: { type: 'https_web', endpointSPIFFEID: id } }, /is for https_spiffe/u],
    [
      { trustDomainBundle: { keys: [] } },
      /trustDomainBundle: expected the JSON of a SPIFFE bundle as a text/u,
    ],
    [{ endpoint: 'x' }, /endpoint: unknown field/u],
  ])('F-5: with %j it is refused', (changes, why) => {
    expect(problems(relation(changes))).toEqual([expect.stringMatching(why)]);
  });

  it.each(['http://a.example/', 'https://me@a.example/', 'https://me:secret@a.example/', 'a.example', 5])(
    'F-7: %j is no place for a bundle, and is not repeated',
    (url) => {
      const found = problems(relation({ bundleEndpointURL: url }));
      expect(found).toEqual([
        'federation[0].bundleEndpointURL: expected an https URL without user name and password',
      ]);
    },
  );

  it('F-13, B-9: takes a first bundle as SPIFFE writes it, and needs one for an endpoint of its own', () => {
    expect(problems(relation({ trustDomainBundle: undefined }))[0]).toMatch(/trustDomainBundle: missing/u);
    expect(problems(relation({ trustDomainBundle: '{"keys": [], "keys": []}' }))[0]).toMatch(/"keys" twice/u);
    expect(problems(relation({ trustDomainBundle: '{"keys": []}' }))[0]).toMatch(/has no root/u);
  });

  it('holds each trust domain once, and not too many', () => {
    expect(problems(relation(), relation())[0]).toMatch(
      /\[1\]\.trustDomain: "partner\.example" is there twice/u,
    );
    const many = Array.from({ length: 65 }, (_, index) => relation({ trustDomain: `p${index}` }));
    expect(problems(...many)[0]).toBe('federation: at most 64 are allowed, found 65');
  });

  it('makes their trust domains known to lints, which know nothing of their service accounts', () => {
    const policy = (principal: string): Parameters<typeof lintTogether>[0][number] => {
      const parsed = parseAuthorizationPolicy({
        apiVersion: 'security.countersign.dev/v1',
        kind: 'AuthorizationPolicy',
        metadata: { name: 'p', namespace: 'shop' },
        spec: { rules: [{ from: [{ source: { principals: [principal] } }] }] },
      });
      if (!parsed.ok) throw new Error('a bad policy');
      return parsed.policy;
    };
    const warnings = (principal: string): readonly string[] =>
      lintTogether([policy(principal)], {
        rootNamespace: 'root',
        trustDomains: ['td', 'partner.example'],
        federated: ['partner.example'],
        hasServiceAccount: () => false,
      }).map(({ message }) => message);
    expect(warnings('partner.example/ns/shop/sa/web')).toEqual([]);
    expect(warnings('other.example/ns/shop/sa/web')).toEqual([expect.stringContaining('is not known')]);
    expect(warnings('td/ns/shop/sa/web')).toEqual([expect.stringContaining('does not exist')]);
  });
});
