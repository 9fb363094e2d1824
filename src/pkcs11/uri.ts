import { TokenError } from './errors.ts';

/** What a PKCS#11 URI names (RFC 7512): a private key in a token, and how to get at it. */
export interface TokenUri {
  /** Of the module, absolute. */
  readonly modulePath: string;
  /** Of the token; absent: any. */
  readonly token?: string | undefined;
  readonly serial?: string | undefined;
  readonly slotId?: number | undefined;
  /** Of the key: CKA_LABEL, and CKA_ID in hex; one of them at least. */
  readonly object?: string | undefined;
  readonly id?: string | undefined;
  /** Of the file with the PIN, absolute; absent: the token asks for none. */
  readonly pinFile?: string | undefined;
}

export function isTokenUri(text: string): boolean {
  return text.startsWith('pkcs11:');
}

const PATH = new Set(['token', 'serial', 'slot-id', 'object', 'id', 'type']);
const QUERY = new Set(['module-path', 'pin-source']);

/** @throws TokenError `uri-malformed` */
export function parseTokenUri(text: string): TokenUri {
  // A PIN may be in it, so what is wrong is told without repeating it.
  if (!isTokenUri(text)) throw malformed('it does not begin with "pkcs11:"');
  const [path = '', query = '', ...rest] = text.slice('pkcs11:'.length).split('?');
  if (rest.length > 0) throw malformed('it has more than one "?"');
  const named = attributes(path, ';', PATH);
  const asked = attributes(query, '&', QUERY);
  const type = named.get('type');
  if (type !== undefined && textOf(type) !== 'private') throw malformed('its type is not "private"');
  const [object, id, slot] = [named.get('object'), named.get('id'), named.get('slot-id')];
  if (object === undefined && id === undefined)
    throw malformed('it names no key: give object=LABEL, or id=%01%02 in bytes');
  const modulePath = textOf(asked.get('module-path') ?? Buffer.alloc(0));
  if (!modulePath.startsWith('/')) {
    throw malformed('it names no module: give ?module-path=/absolute/path/of/the/module.so');
  }
  const slotText = slot && textOf(slot);
  if (slotText !== undefined && !/^\d{1,9}$/u.test(slotText)) throw malformed('its slot-id is not a number');
  return {
    modulePath,
    token: optionalText(named.get('token')),
    serial: optionalText(named.get('serial')),
    slotId: slotText === undefined ? undefined : Number(slotText),
    object: optionalText(object),
    id: id?.toString('hex'),
    pinFile: pinFile(optionalText(asked.get('pin-source'))),
  };
}

function pinFile(source: string | undefined): string | undefined {
  const path = source?.replace(/^file:(?:\/\/)?/u, '');
  if (path === undefined || path.startsWith('/')) return path;
  throw malformed('its pin-source is not a file: give pin-source=file:/absolute/path');
}

function attributes(
  text: string,
  separator: string,
  known: ReadonlySet<string>,
): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const part of text.split(separator)) {
    if (part === '') continue;
    const at = part.indexOf('=');
    const name = at < 0 ? part : part.slice(0, at);
    if (name === 'pin-value')
      throw malformed(
        'it holds the PIN (pin-value), where every user of the machine sees it: give pin-source=file:/path',
      );
    if (at < 0 || !known.has(name)) {
      throw malformed(
        `it has ${JSON.stringify(name.slice(0, 40))}, and ${[...known].join(', ')} are allowed there`,
      );
    }
    if (found.has(name)) throw malformed(`it has ${name} twice`);
    found.set(name, decoded(part.slice(at + 1)));
  }
  return found;
}

function decoded(text: string): Buffer {
  if (/%(?![0-9A-Fa-f]{2})/u.test(text)) throw malformed('it has a "%" without two hex digits');
  const parts = text.split(/(%[0-9A-Fa-f]{2})/u);
  return Buffer.concat(
    parts.map((part) =>
      part.startsWith('%') ? Buffer.from(part.slice(1), 'hex') : Buffer.from(part, 'utf8'),
    ),
  );
}

function textOf(bytes: Buffer): string {
  return bytes.toString('utf8');
}

function optionalText(bytes: Buffer | undefined): string | undefined {
  return bytes === undefined ? undefined : textOf(bytes);
}

function malformed(finding: string): TokenError {
  return new TokenError(
    'uri-malformed',
    `The PKCS#11 URI cannot be used: ${finding}. Such as pkcs11:token=mesh;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin`,
  );
}
