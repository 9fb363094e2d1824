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
    readonly fields: Readonly<Record<string, { readonly stringValue?: string | null }>>;
  } | null;
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
      if (value !== undefined && value.stringValue !== '') {
        throw new RequestError('metadata', `the request's metadata has ${name}: ${why}; leave it out`);
      }
    }
    return { csr: raw.csr, validity: Number(raw.validity_duration.toString()) };
  };
}

const CERT_CHAIN = 0x0a;

/** Writes an `IstioCertificateResponse`. What responses have in common, issuer and bundle, is encoded once. */
export class ResponseWriter {
  #last:
    | { readonly issuer: Buffer | undefined; readonly bundle: TrustBundle; readonly bytes: Buffer }
    | undefined;

  write(issued: IssuedChain, bundle: TrustBundle): Buffer {
    const [leaf = '', ...issuers] = issued.chainPem.split(/(?=-----BEGIN )/u);
    const issuer = issued.chain[1];
    if (this.#last?.issuer !== issuer || this.#last?.bundle !== bundle) {
      this.#last = { issuer, bundle, bytes: Buffer.concat([...issuers, bundle.toPem()].map(element)) };
    }
    return Buffer.concat([element(leaf), this.#last.bytes]);
  }
}

/** @param text below 2 MiB */
function element(text: string): Buffer {
  const { length } = text;
  const size =
    length < 0x80
      ? [length]
      : length < 0x4000
        ? [(length & 0x7f) | 0x80, length >> 7]
        : [(length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14];
  return Buffer.concat([Buffer.of(CERT_CHAIN, ...size), Buffer.from(text, 'latin1')]);
}
