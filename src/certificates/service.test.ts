import { EventEmitter } from 'node:events';
import { Metadata, status } from '@grpc/grpc-js';
import type * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { AuthorityError } from '../authority/index.ts';
import type { ProvenWorkload, Verdict } from '../attestation/index.ts';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { statusOf } from '../discovery/index.ts';
import { certificateService, RequestRate, type CertificateServiceOptions } from './index.ts';

const proto = new URL('../../proto/istio/v1/auth/ca.proto', import.meta.url).pathname;
const root = new protobuf.Root().loadSync(proto, { keepCase: true });
const requestType = root.lookupType('istio.v1.auth.IstioCertificateRequest');
const id = SpiffeId.workload(TrustDomain.parse('example.org'), 'shop', 'web');
const proven: Verdict = { ok: true, workload: { id, pod: { uid: 'web-1' } } as ProvenWorkload };
const refused = {
  ok: false,
  refusal: {
    factor: 'pod',
    code: 'PERMISSION_DENIED',
    detail: 'pod shop/web does not exist',
    publicMessage: 'not attested: the pod was refused',
  },
} satisfies Verdict;

interface Answer {
  readonly error: Partial<grpc.StatusObject> | null;
}

/** A service over fakes: what it is asked to sign, what it tells, and how calls end. */
function harness(options: Partial<CertificateServiceOptions> = {}): {
  readonly call: (message: object | Buffer, cancelled?: boolean) => Promise<Answer>;
  readonly told: string[];
  readonly signed: number[];
} {
  const told: string[] = [];
  const signed: number[] = [];
  const service = certificateService({
    root,
    credentialsOf: () => ({ bearer: 'token', peerAddress: '10.0.0.1' }),
    attest: async () => proven,
    bundle: () => {
      throw new Error('not reached');
    },
    sign: (_id, _csr, ttlMs) => {
      signed.push(ttlMs);
      throw new AuthorityError('csr-signature', 'not signed by the key it names');
    },
    validity: { minMs: 60_000, maxMs: 86_400_000, svidTtlMs: 3_600_000 },
    rate: new RequestRate({ perMinute: Infinity, ticks: () => 0 }),
    statusOf,
    observer: {
      issued: () => told.push('issued'),
      refused: (_workload, { field, detail }) => told.push(`${field}: ${detail}`),
      failed: (error) => told.push(`failed: ${String(error)}`),
    },
    ...options,
  });
  const handler = service.implementation['CreateCertificate'] as grpc.handleUnaryCall<Buffer, Buffer>;
  const call = async (message: object | Buffer, cancelled = false): Promise<Answer> =>
    await new Promise((resolve) => {
      const request = Buffer.isBuffer(message)
        ? message
        : Buffer.from(requestType.encode(requestType.fromObject(message)).finish());
      const fake = Object.assign(new EventEmitter(), {
        request,
        cancelled,
        metadata: new Metadata(),
        getPeer: () => '10.0.0.1:1',
      });
      handler(fake as unknown as grpc.ServerUnaryCall<Buffer, Buffer>, (error) => resolve({ error: error }));
    });
  return { call, told, signed };
}

describe('CreateCertificate', () => {
  it('reads nothing of what an unproven caller sent', async () => {
    const { call, told, signed } = harness({ attest: async () => refused });
    const { error } = await call(Buffer.from('ff', 'hex'));
    expect(error).toEqual({ code: status.PERMISSION_DENIED, details: 'not attested: the pod was refused' });
    expect([told, signed]).toEqual([[], []]);
  });

  it('tells a proven caller what of its request was refused', async () => {
    const { call, told } = harness();
    expect((await call(Buffer.from('ff', 'hex'))).error).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect((await call({ validity_duration: 5 })).error?.details).toMatch(/^validity_duration is 5 s: /u);
    expect((await call({ csr: 'x' })).error).toEqual({
      code: status.INVALID_ARGUMENT,
      details: 'not signed by the key it names',
    });
    expect(told).toEqual([
      'message: the request is not an IstioCertificateRequest',
      expect.stringMatching(/^validity: validity_duration is 5 s/u),
      'csr: not signed by the key it names',
    ]);
  });

  it('asks for no longer life than the mesh gives', async () => {
    const { call, signed } = harness();
    for (const validity_duration of [0, 60, 86_400]) await call({ validity_duration });
    expect(signed).toEqual([3_600_000, 60_000, 3_600_000]);
  });

  it.each([
    new AuthorityError('root-expired', 'the root has expired'),
    new AuthorityError('self-check-failed', 'it does not hold'),
    new TypeError('undefined is not a function'),
  ])('keeps its own trouble (%s) to itself, and says: try again', async (trouble) => {
    const { call, told } = harness({
      sign: () => {
        throw trouble;
      },
    });
    expect((await call({})).error).toEqual({
      code: status.UNAVAILABLE,
      details: 'no certificate can be signed now; try again',
    });
    expect(told).toEqual([`failed: ${String(trouble)}`]);
  });

  it('says: try again, where the proof could not be decided', async () => {
    const attest = async (): Promise<Verdict> => {
      throw new Error('no keys');
    };
    const { call, told } = harness({ attest });
    expect((await call({})).error).toMatchObject({ code: status.UNAVAILABLE });
    expect((await call({})).error).toMatchObject({ code: status.UNAVAILABLE });
    expect((await call({})).error).toMatchObject({ code: status.UNAVAILABLE });
    expect(told).toEqual(Array(3).fill('failed: Error: no keys'));
  });

  it('signs nothing for a client that went away', async () => {
    const { call, signed } = harness();
    expect((await call({}, true)).error).toMatchObject({ code: status.CANCELLED });
    expect(signed).toEqual([]);
  });

  it('tells a caller who was turned away, or asks too often, when to come back', async () => {
    let verdict: Verdict = {
      ok: false,
      refusal: { ...refused.refusal, factor: 'load', code: 'RESOURCE_EXHAUSTED', retryAfterMs: 1_200 },
    };
    const { call, told, signed } = harness({
      attest: async () => verdict,
      rate: new RequestRate({ perMinute: 1, ticks: () => 0 }),
    });
    const backIn = async (): Promise<unknown> => {
      const { error } = await call({ csr: 'csr' });
      return [error?.code, error?.metadata?.get('grpc-retry-pushback-ms')];
    };
    expect(await backIn()).toEqual([status.RESOURCE_EXHAUSTED, ['1200']]);
    verdict = proven;
    expect(await backIn()).toEqual([status.INVALID_ARGUMENT, undefined]);
    expect(await backIn()).toEqual([status.RESOURCE_EXHAUSTED, ['60000']]);
    expect(signed).toHaveLength(1);
    expect(told.at(-1)).toMatch(/^rate: /u);
  });
});
