import { readBoolean, type Certificate } from './certificate.ts';
import { DerReader, oidText, TAG } from './der.ts';
import { IdentityError } from './errors.ts';

export const OID = {
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.nameConstraints,
  OID.extendedKeyUsage,
]);

/** GeneralName tags (RFC 5280 section 4.2.1.6) without their constructed bit. */
const URI_NAME = 0x86;
const CONSTRUCTED = 0x20;

/** What a certificate may be used for. */
export interface Usage {
  /** `undefined` where the extension is absent. */
  readonly keyUsage: KeyUsage | undefined;
  readonly extendedKeyUsage: ReadonlySet<string> | undefined;
  readonly isAuthority: boolean;
  /** How many intermediates may stand between this certificate and a leaf. */
  readonly pathLength: number | undefined;
  readonly names: readonly Name[];
  readonly namesCritical: boolean;
  readonly nameConstraints: NameConstraints | undefined;
}

export interface KeyUsage {
  readonly critical: boolean;
  readonly digitalSignature: boolean;
  readonly keyCertSign: boolean;
  readonly crlSign: boolean;
}

/** A subject alternative name; `tag` says of which form. */
export interface Name {
  readonly tag: number;
  readonly value: Buffer;
}

export interface NameConstraints {
  readonly permitted: readonly Name[];
  readonly excluded: readonly Name[];
}

export function isUri(name: Name): boolean {
  return name.tag === URI_NAME;
}

/**
 * Reads the extensions that path validation and the SVID profile look at.
 * @throws IdentityError `der-malformed`, `certificate-malformed`; also for a critical extension not understood
 */
export function readUsage(certificate: Certificate): Usage {
  for (const [id, { critical }] of certificate.extensions) {
    if (critical && !UNDERSTOOD.has(id))
      throw malformed(`has the critical extension ${id}, which is not understood`);
  }
  const constraints = readBasicConstraints(certificate);
  return {
    keyUsage: readKeyUsage(certificate),
    extendedKeyUsage: readExtendedKeyUsage(certificate),
    ...constraints,
    names: readNames(certificate),
    namesCritical: certificate.extensions.get(OID.subjectAltName)?.critical ?? false,
    nameConstraints: readNameConstraints(certificate),
  };
}

function readerOf(certificate: Certificate, id: string, part: string): DerReader | undefined {
  const found = certificate.extensions.get(id);
  if (found === undefined) return undefined;
  const whole = new DerReader(found.value, part);
  const inside = whole.enter(TAG.sequence, 'it');
  whole.end('it');
  return inside;
}

function readBasicConstraints(certificate: Certificate): Pick<Usage, 'isAuthority' | 'pathLength'> {
  const reader = readerOf(certificate, OID.basicConstraints, 'basicConstraints');
  if (reader === undefined) return { isAuthority: false, pathLength: undefined };
  const isAuthority = readBoolean(reader, 'cA');
  const limit = reader.readOptional(TAG.integer, 'pathLenConstraint');
  reader.end('it');
  if (limit === undefined) return { isAuthority, pathLength: undefined };
  const first = limit.content[0];
  if (!isAuthority || first === undefined || first > 0x7f || limit.content.length > 2) {
    throw malformed('has a pathLenConstraint that is not allowed');
  }
  return { isAuthority, pathLength: limit.content.readUIntBE(0, limit.content.length) };
}

function readKeyUsage(certificate: Certificate): KeyUsage | undefined {
  const found = certificate.extensions.get(OID.keyUsage);
  if (found === undefined) return undefined;
  const reader = new DerReader(found.value, 'keyUsage');
  const { content } = reader.read(TAG.bitString, 'it');
  reader.end('it');
  const [unused = 0, bits = 0] = content;
  if (content.length < 2 || content.length > 3 || unused > 7)
    throw malformed('has a keyUsage that is not allowed');
  return {
    critical: found.critical,
    digitalSignature: (bits & 0x80) !== 0,
    keyCertSign: (bits & 0x04) !== 0,
    crlSign: (bits & 0x02) !== 0,
  };
}

function readExtendedKeyUsage(certificate: Certificate): ReadonlySet<string> | undefined {
  const reader = readerOf(certificate, OID.extendedKeyUsage, 'extendedKeyUsage');
  if (reader === undefined) return undefined;
  const purposes = new Set<string>();
  while (!reader.atEnd) purposes.add(oidText(reader.read(TAG.oid, 'a purpose').content));
  return purposes;
}

function readNames(certificate: Certificate): readonly Name[] {
  const reader = readerOf(certificate, OID.subjectAltName, 'subjectAltName');
  if (reader === undefined) return [];
  const names: Name[] = [];
  while (!reader.atEnd) {
    const { tag, content } = reader.readAny('a name');
    names.push({ tag, value: content });
  }
  return names;
}

/** RFC 5280 section 4.2.1.10. */
function readNameConstraints(certificate: Certificate): NameConstraints | undefined {
  const reader = readerOf(certificate, OID.nameConstraints, 'nameConstraints');
  if (reader === undefined) return undefined;
  const permitted = readSubtrees(reader, 0xa0);
  const excluded = readSubtrees(reader, 0xa1);
  reader.end('it');
  return { permitted, excluded };
}

function readSubtrees(reader: DerReader, tag: number): readonly Name[] {
  const list = reader.readOptional(tag, 'the subtrees');
  if (list === undefined) return [];
  const subtrees: Name[] = [];
  const inside = new DerReader(list.content, 'nameConstraints');
  while (!inside.atEnd) {
    const subtree = inside.enter(TAG.sequence, 'a subtree');
    const base = subtree.readAny('its base');
    // minimum and maximum are not used in this profile: present, they would change the meaning.
    subtree.end('the base of a subtree');
    subtrees.push({ tag: base.tag, value: base.content });
  }
  return subtrees;
}

/** Whether both names are of one form; a directory name is constructed wherever it stands. */
export function sameForm(one: Name, other: Name): boolean {
  return (one.tag & ~CONSTRUCTED) === (other.tag & ~CONSTRUCTED);
}

function malformed(finding: string): IdentityError {
  return new IdentityError('certificate-malformed', `The certificate ${finding}.`);
}
