import { assert, oneof, property, string, stringMatching } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeCa } from '../../test/fake/ca.ts';
import { checkLeaf, checkSigningCertificate, IdentityError, SpiffeId, TrustDomain } from './index.ts';

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof IdentityError) return error.code;
    throw error;
  }
  return 'accepted';
};
const parseCode = (text: string): string => codeOf(() => SpiffeId.parse(text));

/** What 256 byte values do, each as one character of an otherwise good text. */
function acceptedBytes(parse: (character: string) => unknown): string {
  let accepted = '';
  for (let byte = 0; byte < 256; byte += 1) {
    const character = Buffer.of(byte).toString('latin1');
    if (codeOf(() => parse(character)) === 'accepted') accepted += character;
  }
  return accepted;
}

const sorted = (characters: string): string => characters.split('').toSorted().join('');
const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const UPPER = LOWER.toUpperCase();
const DIGITS = '0123456789';

describe('SPIFFE-ID', () => {
  it('ID-1: the scheme is spiffe and the trust domain is not empty', () => {
    expect(SpiffeId.parse('spiffe://example.org/web').trustDomain.name).toBe('example.org');
    for (const text of [
      '',
      'example.org/web',
      'https://example.org/web',
      'spiffe:/example.org',
      'spiffe:example.org',
    ]) {
      expect(parseCode(text)).toBe('spiffe-id-scheme');
    }
    expect(parseCode('spiffe://')).toBe('trust-domain-empty');
  });

  it('ID-2: no query and no fragment', () => {
    for (const text of [
      'spiffe://example.org/web?q=1',
      'spiffe://example.org/web#f',
      'spiffe://example.org/web?',
    ]) {
      expect(parseCode(text)).toBe('spiffe-id-path');
    }
    expect(parseCode('spiffe://example.org?q')).toBe('trust-domain-character');
    expect(parseCode('spiffe://example.org#f')).toBe('trust-domain-character');
  });

  it('ID-3: the host is not empty', () => {
    expect(parseCode('spiffe:///web')).toBe('trust-domain-empty');
    expect(codeOf(() => TrustDomain.parse(''))).toBe('trust-domain-empty');
  });

  it('ID-4: no userinfo and no port', () => {
    for (const host of [
      'user@example.org',
      'user:secret@example.org',
      'example.org:80',
      'example.org:',
      '@example.org',
    ]) {
      expect(parseCode(`spiffe://${host}/web`)).toBe('trust-domain-character');
    }
  });

  it('ID-5: an upper-case host is refused, and the message says so', () => {
    expect(parseCode('spiffe://Example.org/web')).toBe('trust-domain-character');
    expect(() => TrustDomain.parse('exAmple.org')).toThrow(/"A" at position 2.*lower case/);
  });

  it('ID-6: of all 256 byte values, a host takes a-z, 0-9, ".", "-" and "_"', () => {
    const expected = sorted(`-.${DIGITS}_${LOWER}`);
    expect(acceptedBytes((c) => TrustDomain.parse(`a${c}b`))).toBe(expected);
    expect(acceptedBytes((c) => TrustDomain.parse(c))).toBe(expected);
    // A slash ends the host, and "b" becomes the path.
    expect(acceptedBytes((c) => SpiffeId.parse(`spiffe://a${c}b`))).toBe(sorted(`${expected}/`));
  });

  it('ID-6: an IPv4 address is a host, an IPv6 address is not', () => {
    expect(SpiffeId.parse('spiffe://10.1.2.3/web').trustDomain.name).toBe('10.1.2.3');
    expect(parseCode('spiffe://[::1]/web')).toBe('trust-domain-character');
  });

  it('ID-7: no percent-encoding in the host', () => {
    expect(parseCode('spiffe://ex%61mple.org/web')).toBe('trust-domain-character');
  });

  it('ID-8: names that are no DNS names and no addresses are taken like any other', () => {
    for (const name of ['1.2.3.4', '999.999.999.999', 'a_b', '-', '.', 'a..b', '-a-', 'localhost']) {
      expect(TrustDomain.parse(name).name).toBe(name);
    }
  });

  it('ID-9: no percent-encoding in the path', () => {
    for (const path of ['/%61', '/a%2fb', '/%', '/a%00'])
      expect(parseCode(`spiffe://td${path}`)).toBe('spiffe-id-path');
  });

  it('ID-10: no empty, "." or ".." segments', () => {
    for (const path of [
      '//',
      '//a',
      '/a//b',
      '/.',
      '/..',
      '/a/./b',
      '/a/../b',
      '/./a',
      '/../a',
      '/a/.',
      '/a/..',
    ]) {
      expect(parseCode(`spiffe://td${path}`)).toBe('spiffe-id-path');
    }
    for (const path of ['/...', '/.a', '/a.', '/..a'])
      expect(SpiffeId.parse(`spiffe://td${path}`).path).toBe(path);
  });

  it('ID-11: no slash at the end', () => {
    for (const text of ['spiffe://td/', 'spiffe://td/a/', 'spiffe://td/a/b/'])
      expect(parseCode(text)).toBe('spiffe-id-path');
    expect(SpiffeId.parse('spiffe://td').path).toBe('');
  });

  it('ID-12: of all 256 byte values, a segment takes a-z, A-Z, 0-9, ".", "-" and "_"', () => {
    const expected = sorted(`-.${DIGITS}${UPPER}_${LOWER}`);
    const withSlash = sorted(`${expected}/`);
    const td = TrustDomain.parse('td');
    expect(acceptedBytes((c) => SpiffeId.parse(`spiffe://td/a${c}b`))).toBe(withSlash);
    expect(acceptedBytes((c) => SpiffeId.workload(td, `a${c}b`, 'sa'))).toBe(expected);
    expect(acceptedBytes((c) => SpiffeId.workload(td, 'ns', `a${c}b`))).toBe(expected);
  });

  it('ID-12: characters beyond one byte are refused, those that fold into ASCII among them', () => {
    for (const c of [
      '\u00e9',
      '\u212a',
      '\u017f',
      '\uff0f',
      '\uff0e',
      '\0',
      '\u{1f600}',
      '\ud800',
      '\u0430',
    ]) {
      expect(parseCode(`spiffe://td/a${c}`)).toBe('spiffe-id-path');
      expect(parseCode(`spiffe://td${c}/a`)).toBe('trust-domain-character');
    }
  });

  it('ID-13: 2048 bytes are taken, all components counted', () => {
    const uri = `spiffe://td/${'a'.repeat(2048 - 'spiffe://td/'.length)}`;
    expect(SpiffeId.parse(uri).uri).toHaveLength(2048);
    expect(parseCode(`${uri}a`)).toBe('spiffe-id-too-long');
    expect(parseCode(`spiffe://td/${'\u00e9'.repeat(1100)}`)).toBe('spiffe-id-too-long');
  });

  it('ID-14: no ID above 2048 bytes is made', () => {
    const td = TrustDomain.parse('td');
    const fits = 2048 - 'spiffe://td/ns/n/sa/'.length;
    expect(SpiffeId.workload(td, 'n', 'a'.repeat(fits)).uri).toHaveLength(2048);
    expect(codeOf(() => SpiffeId.workload(td, 'n', 'a'.repeat(fits + 1)))).toBe('spiffe-id-too-long');
  });

  it('ID-15: a trust domain name has at most 255 bytes', () => {
    expect(TrustDomain.parse('a'.repeat(255)).name).toHaveLength(255);
    expect(codeOf(() => TrustDomain.parse('a'.repeat(256)))).toBe('trust-domain-too-long');
    expect(parseCode(`spiffe://${'a'.repeat(256)}/web`)).toBe('trust-domain-too-long');
  });

  it('ID-16: one identity has one spelling: upper case in scheme or host is refused, in the path it differs', () => {
    expect(parseCode('SPIFFE://td/a')).toBe('spiffe-id-scheme');
    expect(() => SpiffeId.parse('Spiffe://td/a')).toThrow(/lower case/);
    expect(SpiffeId.parse('spiffe://td/a').equals(SpiffeId.parse('spiffe://td/A'))).toBe(false);
    expect(SpiffeId.parse('spiffe://td/a').equals(SpiffeId.parse('spiffe://td/a'))).toBe(true);
  });

  it("ID-17, ID-18: a signing authority's SVID is its trust domain's ID, without a path", async () => {
    const td = TrustDomain.parse('td');
    expect(td.id.uri).toBe('spiffe://td');
    expect(td.id.path).toBe('');
    expect(checkSigningCertificate((await FakeCa.root(td)).der).name).toBe('td');
  });

  it('ID-19: the ID is read from what is signed (that a changed byte is refused: X-30)', async () => {
    const { der } = await (await FakeCa.root(TrustDomain.parse('td'))).leaf('spiffe://td/web');
    expect(checkLeaf(der).uri).toBe('spiffe://td/web');
  });

  it('ID-20: what is no X.509 certificate is no SVID here', () => {
    expect(codeOf(() => checkLeaf(Buffer.from('eyJhbGciOiJFUzI1NiJ9.e30.c2ln')))).toBe('der-malformed');
  });
});

describe('SpiffeId', () => {
  it('names the namespace and service account of a workload', () => {
    const id = SpiffeId.workload(TrustDomain.parse('cluster.local'), 'shop', 'web.v1');
    expect(id.uri).toBe('spiffe://cluster.local/ns/shop/sa/web.v1');
    expect(id.workload()).toEqual({ namespace: 'shop', serviceAccount: 'web.v1' });
  });

  it.each([
    '',
    '/ns/shop',
    '/ns/shop/sa',
    '/ns/shop/sa/web/x',
    '/sa/web/ns/shop',
    '/x/ns/shop/sa/web',
    '/NS/shop/sa/web',
  ])('does not take the path "%s" for a workload', (path) => {
    expect(SpiffeId.parse(`spiffe://td${path}`).workload()).toBeUndefined();
  });

  it.each(['', '.', '..', 'a/b'])('refuses the namespace or service account "%s"', (part) => {
    const td = TrustDomain.parse('td');
    expect(codeOf(() => SpiffeId.workload(td, part, 'sa'))).toBe('spiffe-id-path');
    expect(codeOf(() => SpiffeId.workload(td, 'ns', part))).toBe('spiffe-id-path');
  });

  it('gives back every ID that it parses, byte for byte, and refuses the rest with a code', () => {
    const text = oneof(
      string({ unit: 'binary' }).map((tail) => `spiffe://${tail}`),
      stringMatching(/^[a-zA-Z0-9._/%:@-]{0,40}$/).map((tail) => `spiffe://td/${tail}`),
    );
    assert(
      property(text, (uri) => {
        const code = parseCode(uri);
        if (code !== 'accepted') return;
        const id = SpiffeId.parse(uri);
        expect(id.uri).toBe(uri);
        expect(`spiffe://${id.trustDomain.name}${id.path}`).toBe(uri);
      }),
    );
  });

  it('finds in every workload ID the names that it was made of', () => {
    const segment = stringMatching(/^[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?$/);
    assert(
      property(segment, segment, segment, (domain, namespace, serviceAccount) => {
        const id = SpiffeId.workload(TrustDomain.parse(domain), namespace, serviceAccount);
        expect(SpiffeId.parse(id.uri).workload()).toEqual({ namespace, serviceAccount });
      }),
    );
  });

  it('quotes what it found, cut and escaped', () => {
    expect(() => SpiffeId.parse(`\u001b[31m${'x'.repeat(1000)}`)).toThrow(
      /^"\\u001b\[31mx{91}\.\.\." does not begin/,
    );
  });
});
