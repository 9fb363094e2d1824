import { hash } from 'node:crypto';
import { Authority, memoryKeyStore } from '../../../src/authority/index.ts';
import { SpiffeId, subjectText, TrustDomain, type TrustBundle } from '../../../src/identity/index.ts';
import { FakeCa } from '../../fake/ca.ts';
import {
  FORMER_PEER,
  FURTHER_NAMES,
  holderOf,
  ISSUED_MS,
  ODD_PEERS,
  SHOWN,
  SVIDS,
  TRUST_DOMAINS,
  type Peer,
} from '../world.ts';

/** PEM. */
export interface Credential {
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  /** Envoy's own SVID. */
  readonly server: Credential;
  /** One for each trust domain. */
  readonly bundles: readonly TrustBundle[];
  /** The root of the odd certificates, PEM. */
  readonly oddRoot: string;
  /** undefined: the peer shows none. */
  readonly of: (peer: Peer) => Credential | undefined;
}

const DAY_MS = 24 * 3600 * 1000;

/** SVIDs from Countersign's own authorities, one for each trust domain; odd certificates from a CA that signs anything. */
export async function makeCertificates(): Promise<Certificates> {
  const authorities = new Map<string, Authority>();
  for (const name of TRUST_DOMAINS) {
    authorities.set(
      name,
      await Authority.open({
        store: memoryKeyStore(),
        trustDomain: TrustDomain.parse(name),
        nowMs: () => ISSUED_MS,
        svidTtlMs: DAY_MS / 2,
      }),
    );
  }
  const issue = (uri: string): Credential => {
    const id = SpiffeId.parse(uri);
    const holder = holderOf(uri);
    const svid = authorities.get(id.trustDomain.name)?.issue(id, { ...FURTHER_NAMES[uri], holder });
    if (svid === undefined) throw new Error(`${uri} is of no trust domain of the world`);
    const digest = hash('sha256', svid.chain[0] ?? '');
    SHOWN.set(uri, { digest, subject: subjectText(ISSUED_MS, holder) });
    return { cert: svid.chainPem, key: svid.privateKeyPem };
  };
  const odd = await oddCertificates();
  const known = new Map([
    ...SVIDS.map((id): [string, Credential] => [nameOf({ kind: 'svid', id }), issue(id)]),
    ...odd.credentials,
  ]);
  return {
    server: issue('spiffe://td1/ns/a/sa/server'),
    bundles: [...authorities.values()].map(({ bundle }) => bundle),
    oddRoot: odd.root,
    of: (peer) => known.get(nameOf(peer)),
  };
}

/** One text for each peer: what its connections are kept under. */
export function nameOf(peer: Peer): string {
  if (peer.kind === 'svid') return peer.id;
  return peer.kind === 'odd' ? JSON.stringify(peer.names) : peer.kind;
}

async function oddCertificates(): Promise<{
  root: string;
  credentials: readonly [string, Credential][];
}> {
  const now = Date.now();
  const validity = { notBeforeMs: now - 3_600_000, notAfterMs: now + DAY_MS };
  const ca = await FakeCa.root(TrustDomain.parse('odd'), validity);
  const credentials: [string, Credential][] = [];
  for (const peer of [...ODD_PEERS, FORMER_PEER]) {
    if (peer.kind !== 'odd') continue;
    const { uri, dns } = peer.names;
    const leaf = await ca.leaf('', { ...validity, uris: uri, dnsNames: dns });
    SHOWN.set(nameOf(peer), { digest: hash('sha256', leaf.der), subject: '' });
    const key = leaf.privateKey.export({ type: 'pkcs8', format: 'pem' });
    credentials.push([nameOf(peer), { cert: pem(leaf.der), key }]);
  }
  return { root: pem(ca.der), credentials };
}

function pem(der: Buffer): string {
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replaceAll(/.{64}(?=.)/gu, '$&\n')}\n-----END CERTIFICATE-----\n`;
}
