import { createPrivateKey, createPublicKey, hash, type KeyObject } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { AuthorityError } from './errors.ts';
import { readCertificates, type CaParts } from './plugged-ca.ts';
import {
  keyKind,
  MAX_RSA_BITS,
  memoryKey,
  MIN_RSA_BITS,
  signatureAlgorithm,
  type SigningKey,
} from './signature.ts';

/** A CA as an operator gives it: texts, of which nothing has been checked yet. */
export interface CaMaterial {
  /** PEM: what signs, and what stands above it. */
  readonly certificates: string;
  /** PEM. */
  readonly key: string;
  /** PEM; empty: what is self-signed among the certificates is to be trusted. */
  readonly roots: string;
}

export interface CaFiles {
  /** Undefined: the key is in a token, and the root is that of the key itself. */
  readonly cert: string | undefined;
  /** Undefined: it is in a token. */
  readonly key: string | undefined;
  readonly roots: string | undefined;
}

const MAX_BYTES = 1 << 20;

/**
 * @throws AuthorityError `ca-unreadable`, `ca-too-open`
 */
export async function readCaFiles({ cert, key, roots }: CaFiles): Promise<CaMaterial> {
  return {
    certificates: cert === undefined ? '' : await readCaFile(cert, refuseWritable),
    key: key === undefined ? '' : await readCaFile(key, refuseOpenKey),
    roots: roots === undefined ? '' : await readCaFile(roots, refuseWritable),
  };
}

/** @throws AuthorityError `ca-unreadable`, `ca-too-open` */
export async function readCaFile(
  file: string,
  refuse: (file: string, mode: number) => void,
): Promise<string> {
  try {
    // A pipe would be waited for without end.
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { mode, size } = await handle.stat();
      refuse(file, mode);
      if (size > MAX_BYTES) throw new Error('it is larger than 1 MiB');
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof AuthorityError) throw cause;
    const reason =
      cause instanceof Error ? ('code' in cause ? String(cause.code) : cause.message) : 'unknown error';
    throw new AuthorityError(
      'ca-unreadable',
      `The file ${file} of the CA cannot be read (${reason}): check the path and its owner.`,
      { cause },
    );
  }
}

/** Its group may read it, for so are the files of Secrets; nobody else may, and nobody else may change it. */
export function refuseOpenKey(file: string, mode: number): void {
  if ((mode & 0o027) === 0) return;
  throw new AuthorityError(
    'ca-too-open',
    `The file ${file} has the mode 0${(mode & 0o777).toString(8)}, so others may know or change what it holds: run "chmod u=rw,g=,o= ${file}", or set defaultMode: 0400 (0440 with an fsGroup) on the volume. If somebody could have read the key, make a new one.`,
  );
}

/** Anybody may read it, and whoever may change it says whom the mesh trusts. */
function refuseWritable(file: string, mode: number): void {
  if ((mode & 0o022) === 0) return;
  throw new AuthorityError(
    'ca-too-open',
    `The file ${file} has the mode 0${(mode & 0o777).toString(8)}, so others may change whom the mesh trusts: run "chmod go-w ${file}", after a look at what is in it.`,
  );
}

/** Whether it is the same that was looked at before, without keeping a key to know it. */
export function digestOf({ certificates, key, roots }: CaMaterial): string {
  return hash('sha256', JSON.stringify([certificates, key, roots]), 'hex');
}

/**
 * @param key where it is in a token
 * @throws AuthorityError `ca-malformed`, `ca-key-refused`
 */
export function caParts(material: CaMaterial, where: string, key?: SigningKey): CaParts {
  const { certificates, roots } = material;
  return {
    certificates: readCertificates(certificates, where),
    roots: roots === '' ? [] : readCertificates(roots, `the roots of ${where}`),
    key: key ?? keyOf(material, where),
    where,
  };
}

function keyOf({ key }: CaMaterial, where: string): SigningKey {
  const privateKey = readKey(key, where);
  return memoryKey(privateKey, createPublicKey(privateKey));
}

function readKey(pem: string, where: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/u.test(pem)) {
    throw new AuthorityError(
      'ca-malformed',
      `The key of ${where} is encrypted, and there is no passphrase to give: keep it in clear text in a file that only the control plane may read, or in a token (pkcs11:).`,
    );
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    // OpenSSL's words about a key say nothing an operator could use, and might say something of the key.
    throw new AuthorityError('ca-malformed', `There is no private key (PEM) in the key of ${where}.`);
  }
  if (signatureAlgorithm(key) !== undefined) return key;
  throw new AuthorityError(
    'ca-key-refused',
    `The CA in ${where} cannot be used: its key is ${keyKind(key)}, and ECDSA P-256 or P-384, or RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits, is allowed.`,
  );
}
