import type protobuf from 'protobufjs';
import type { IssuedChain } from '../authority/index.ts';
import type { TrustBundle } from '../identity/index.ts';
import { RequestError } from './errors.ts';

/** What counts of an `IstioCertificateRequest`. */
export interface CertificateRequest {
  /** PEM. */
  readonly csr: string;
  /** Seconds. */
  readonly validity: number;
}

interface RawRequest {
  readonly csr: string;
  /** protobufjs reads an int64 as an object that prints as its digits. */
  readonly validity_duration: { toString(): string };
  readonly metadata?: {
    readonly fields: Readonly<Record<string, RawValue>>;
  } | null;
}

/** Which kind it has is said by `kind` alone: the members of the others read as their defaults. */
interface RawValue {
  readonly kind?: string;
  readonly stringValue: string;
}

/** Metadata by which other authorities are asked for something else than the caller's own identity from the one signer. */
const REFUSED_METADATA = {
  ImpersonatedIdentity: "only the caller's own identity is certified",
  CertSigner: 'there is one signer, and it is not chosen by the caller',
} as const;

export type ReadRequest = (bytes: Uint8Array) => CertificateRequest;

/** @returns a function that throws RequestError `message`, `metadata` */
export function requestReader(root: protobuf.Root): ReadRequest {
  const type = root.lookupType('istio.v1.auth.IstioCertificateRequest');
  return (bytes) => {
    let raw: RawRequest;
    try {
      raw = type.decode(bytes) as unknown as RawRequest;
    } catch (cause) {
      throw new RequestError('message', 'the request is not an IstioCertificateRequest', { cause });
    }
    for (const [name, why] of Object.entries(REFUSED_METADATA)) {
      const value = raw.metadata?.fields[name];
      if (value?.kind !== undefined && !(value.kind === 'stringValue' && value.stringValue === '')) {
        throw new RequestError('metadata', `the request's metadata has ${name}: ${why}; leave it out`);
      }
    }
    return { csr: raw.csr, validity: Number(raw.validity_duration.toString()) };
  };
}

/** Key of `cert_chain`: field 1, length-delimited. */
const CERT_CHAIN = 0x0a;
const NEXT_BLOCK = '\n-----BEGIN ';

interface Issuer {
  readonly certificate: Buffer | undefined;
  readonly bundle: TrustBundle;
  /** The elements after the leaf. */
  readonly elements: Buffer;
}

/** Writes an `IstioCertificateResponse`. What responses have in common, issuer and bundle, is encoded once. */
export class ResponseWriter {
  #issuer: Issuer | undefined;

  write({ chain, chainPem }: IssuedChain, bundle: TrustBundle): Buffer {
    const leafLength = chainPem.indexOf(NEXT_BLOCK) + 1;
    if (this.#issuer?.certificate !== chain[1] || this.#issuer?.bundle !== bundle) {
      const elements = [chainPem.slice(leafLength), bundle.toPem()].map(element);
      this.#issuer = { certificate: chain[1], bundle, elements: Buffer.concat(elements) };
    }
    const { elements } = this.#issuer;
    const size = sizeOf(leafLength);
    const out = Buffer.allocUnsafe(1 + size.length + leafLength + elements.length);
    out[0] = CERT_CHAIN;
    out.set(size, 1);
    out.write(chainPem.slice(0, leafLength), 1 + size.length, 'latin1');
    out.set(elements, 1 + size.length + leafLength);
    return out;
  }
}

function element(text: string): Buffer {
  return Buffer.concat([Buffer.of(CERT_CHAIN, ...sizeOf(text.length)), Buffer.from(text, 'latin1')]);
}

/** A length as a varint. */
function sizeOf(length: number): readonly number[] {
  return length < 0x80 ? [length] : [(length & 0x7f) | 0x80, ...sizeOf(length >>> 7)];
}
