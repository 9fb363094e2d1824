import { describe, expect, it } from 'vitest';
import { TokenError } from './errors.ts';
import { parseTokenUri } from './uri.ts';

const module = '?module-path=/usr/lib/p11.so';

describe('a PKCS#11 URI', () => {
  it('names a key, its token, and where module and PIN are', () => {
    expect(
      parseTokenUri(
        `pkcs11:token=My%20mesh;object=ca;id=%01%ff;type=private${module}&pin-source=file:/run/pin`,
      ),
    ).toEqual({
      modulePath: '/usr/lib/p11.so',
      token: 'My mesh',
      object: 'ca',
      id: '01ff',
      pinFile: '/run/pin',
    });
    expect(parseTokenUri(`pkcs11:slot-id=7;serial=a1;object=ca${module}`)).toMatchObject({
      slotId: 7,
      serial: 'a1',
    });
    expect(parseTokenUri(`pkcs11:object=ca${module}&pin-source=file:///run/pin`).pinFile).toBe('/run/pin');
  });

  it.each([
    ['file:/x', /does not begin/u],
    [`pkcs11:token=mesh${module}`, /names no key/u],
    ['pkcs11:object=ca', /names no module/u],
    ['pkcs11:object=ca?module-path=p11.so', /names no module/u],
    [`pkcs11:object=ca${module}&pin-value=1234`, /holds the PIN/u],
    [`pkcs11:object=ca${module}&pin-source=pin`, /is not a file/u],
    [`pkcs11:object=ca${module}&pin-source=%7Cprogram`, /is not a file/u],
    [`pkcs11:object=ca;object=cb${module}`, /has object twice/u],
    [`pkcs11:object=c%a${module}`, /without two hex digits/u],
    [`pkcs11:object=ca;colour=red${module}`, /has "colour"/u],
    [`pkcs11:object=ca;type=cert${module}`, /is not "private"/u],
    [`pkcs11:object=ca;slot-id=x${module}`, /is not a number/u],
    [`pkcs11:object=ca${module}?x`, /more than one/u],
  ])('is refused, and a PIN in it is not repeated: %s', (text, says) => {
    let refused: unknown;
    try {
      parseTokenUri(text);
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(TokenError);
    expect(String(refused)).toMatch(says);
    expect(String(refused)).not.toContain('1234');
  });
});
