import { status } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { requestPem } from '../../test/bench/certificate-request.ts';
import { Authority, AuthorityError, memoryKeyStore } from '../authority/index.ts';
import type { ProvenWorkload, Verdict } from '../attestation/index.ts';
import { SpiffeId, TrustDomain } from '../identity/index.ts';
import { statusOf } from '../discovery/index.ts';
import { COHORT_SIZE, MOST_WAITING } from './cohorts.ts';
import {
  CertificateService,
  type CertificateAnswer,
  type CertificateServiceOptions,
  type CertificateStatus,
  RequestRate,
  type SigningRequest,
} from './index.ts';

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

interface Harness {
  readonly call: (message: object | Buffer, cancelled?: () => boolean) => Promise<CertificateAnswer>;
  /** How a call ends that gets no certificate. */
  readonly refusal: (message: object | Buffer) => Promise<CertificateStatus>;
  readonly told: string[];
  readonly signed: number[];
}

/** A service over fakes: what it is asked to sign, what it tells, and how calls end. */
function harness(options: Partial<CertificateServiceOptions> = {}): Harness {
  const told: string[] = [];
  const signed: number[] = [];
  const service = new CertificateService({
    root,
    attest: async () => proven,
    recheck: () => undefined,
    bundle: () => {
      throw new Error('not reached');
    },
    sign: (requests) =>
      requests.map(({ ttlMs }) => {
        signed.push(ttlMs);
        return new AuthorityError('csr-signature', 'not signed by the key it names');
      }),
    validity: { minMs: 60_000, maxMs: 86_400_000, svidTtlMs: 3_600_000 },
    rate: new RequestRate({ perMinute: Infinity, ticks: () => 0 }),
    statusOf,
    ticks: () => 0,
    observer: {
      issued: (issuances) =>
        told.push(`issued ${issuances.map(({ workload }) => workload.pod.uid).join(' ')}`),
      refused: (_workload, { field, detail }) => told.push(`${field}: ${detail}`),
      failed: (error) => told.push(`failed: ${String(error)}`),
    },
    ...options,
  });
  const call: Harness['call'] = async (message, cancelled = () => false) =>
    await new Promise((resolve) => {
      let answered = false;
      const credentials = { bearer: 'token', peerAddress: '10.0.0.1' };
      service.answer({ credentials, message: encoded(message), cancelled }, (answer) => {
        if (answered) told.push('answered twice');
        else resolve(answer);
        answered = true;
      });
    });
  const refusal: Harness['refusal'] = async (message) => {
    const answer = await call(message);
    if ('message' in answer) throw new Error('it was answered');
    return answer;
  };
  return { call, refusal, told, signed };
}

function encoded(message: object | Buffer): Buffer {
  return Buffer.isBuffer(message)
    ? message
    : Buffer.from(requestType.encode(requestType.fromObject(message)).finish());
}

describe('CreateCertificate', () => {
  it('reads nothing of what an unproven caller sent', async () => {
    const { refusal, told, signed } = harness({ attest: async () => refused });
    const error = await refusal(Buffer.from('ff', 'hex'));
    expect(error).toEqual({ code: status.PERMISSION_DENIED, details: 'not attested: the pod was refused' });
    expect([told, signed]).toEqual([[], []]);
  });

  it('tells a proven caller what of its request was refused', async () => {
    const { refusal, told } = harness();
    expect(await refusal(Buffer.from('ff', 'hex'))).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect((await refusal({ validity_duration: 5 })).details).toMatch(/^validity_duration is 5 s: /u);
    expect(await refusal({ csr: 'x' })).toEqual({
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
      sign: () => [trouble],
    });
    expect(await call({})).toEqual({
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
    expect(await call({})).toMatchObject({ code: status.UNAVAILABLE });
    expect(await call({})).toMatchObject({ code: status.UNAVAILABLE });
    expect(await call({})).toMatchObject({ code: status.UNAVAILABLE });
    expect(told).toEqual(Array(3).fill('failed: Error: no keys'));
  });

  it('signs nothing for a client that went away', async () => {
    const { call, signed } = harness();
    expect(await call({}, () => true)).toMatchObject({ code: status.CANCELLED });
    expect(signed).toEqual([]);
  });

  it('tells a caller who was turned away, or asks too often, when to come back', async () => {
    let verdict: Verdict = {
      ok: false,
      refusal: { ...refused.refusal, factor: 'load', code: 'RESOURCE_EXHAUSTED', retryAfterMs: 1_200 },
    };
    const { refusal, told, signed } = harness({
      attest: async () => verdict,
      rate: new RequestRate({ perMinute: 1, ticks: () => 0 }),
    });
    const backIn = async (): Promise<unknown> => {
      const { code, metadata } = await refusal({ csr: 'csr' });
      return [code, metadata];
    };
    expect(await backIn()).toEqual([status.RESOURCE_EXHAUSTED, { 'grpc-retry-pushback-ms': '1200' }]);
    verdict = proven;
    expect(await backIn()).toEqual([status.INVALID_ARGUMENT, undefined]);
    expect(await backIn()).toEqual([status.RESOURCE_EXHAUSTED, { 'grpc-retry-pushback-ms': '60000' }]);
    expect(signed).toHaveLength(1);
    expect(told.at(-1)).toMatch(/^rate: /u);
  });
});

describe('calls of one turn', () => {
  let authority: Authority;
  beforeAll(async () => {
    const trustDomain = TrustDomain.parse('example.org');
    const options = { nowMs: Date.now, svidTtlMs: 3_600_000, selfCheckEvery: 1 };
    authority = await Authority.open({ store: memoryKeyStore(), trustDomain, ...options });
  });

  /** What happens, in its order: each signing with its size, each event, each answer with the number of its call. */
  function turn(options: Partial<CertificateServiceOptions> = {}): {
    readonly calls: (...messages: readonly (object | Buffer)[]) => Promise<readonly CertificateAnswer[]>;
    readonly gone: Set<number>;
    readonly log: string[];
  } {
    const log: string[] = [];
    const gone = new Set<number>();
    let attested = 0;
    const { call } = harness({
      attest: async () => ({
        ok: true,
        workload: { id, pod: { uid: `uid-${attested++}`, nodeName: 'node-1' } } as ProvenWorkload,
      }),
      bundle: () => authority.bundle,
      sign: (requests) => {
        log.push(`sign ${requests.length}`);
        return signAll(requests);
      },
      observer: {
        issued: (issuances) => log.push(...issuances.map(({ workload }) => `issued ${workload.pod.uid}`)),
        refused: ({ pod }, { field }) => log.push(`refused ${pod.uid} ${field}`),
        failed: (error) => log.push(`failed ${String(error)}`),
      },
      ...options,
    });
    return {
      log,
      gone,
      calls: async (...messages) =>
        await Promise.all(
          messages.map(async (message, at) => {
            const answer = await call(message, () => gone.has(at));
            log.push(`answer ${at} ${'message' in answer ? 'chain' : answer.code}`);
            return answer;
          }),
        ),
    };
  }

  /** From here on the calls are proven and wait for the end of the turn. */
  const microtasks = async (): Promise<void> => {
    for (let tick = 0; tick < 20; tick += 1) await Promise.resolve();
  };
  const signAll = (requests: readonly SigningRequest[]): ReturnType<Authority['issueForCsrs']> =>
    authority.issueForCsrs(requests.map(({ workload, csr, ttlMs }) => ({ id: workload.id, csr, ttlMs })));
  const good = (): object => ({ csr: requestPem() });
  const many = (count: number): readonly object[] => Array.from({ length: count }, good);
  const numbered = (from: number, to: number, text: (at: number) => string): readonly string[] =>
    Array.from({ length: to - from }, (_, at) => text(from + at));

  it('are signed together, told of together, and only then answered, in the order in which they came', async () => {
    const { calls, log } = turn();
    const answers = await calls(...many(5));
    expect(log).toEqual([
      'sign 5',
      ...numbered(0, 5, (at) => `issued uid-${at}`),
      ...numbered(0, 5, (at) => `answer ${at} chain`),
    ]);
    expect(
      new Set(answers.map((answer) => ('message' in answer ? answer.message.toString('hex') : ''))).size,
    ).toBe(5);
  });

  it('wait for another turn beyond a number, which others have in between', async () => {
    const { calls, log } = turn();
    const all = calls(...many(2 * COHORT_SIZE + 1));
    await microtasks();
    await new Promise<void>((resolve) => {
      setImmediate(() => {
        log.push('other work');
        resolve();
      });
    });
    await all;
    expect(log.filter((line) => /^(sign|other)/u.test(line))).toEqual([
      ...[`sign ${COHORT_SIZE}`, 'other work', `sign ${COHORT_SIZE}`, 'sign 1'],
    ]);
    expect(log.filter((line) => line.startsWith('answer'))).toEqual(
      numbered(0, 2 * COHORT_SIZE + 1, (at) => `answer ${at} chain`),
    );
  });

  it('are told to come back where too many wait already', async () => {
    const rate = new RequestRate({ perMinute: 1, ticks: () => 0 });
    const { calls, log } = turn({
      rate,
      sign: (requests) => requests.map(() => new TypeError('not looked at')),
    });
    const answers = await calls(...Array.from({ length: MOST_WAITING + 2 }, () => ({ csr: 'x' })));
    const crowded = expect.objectContaining({
      code: status.RESOURCE_EXHAUSTED,
      metadata: { 'grpc-retry-pushback-ms': '1000' },
    });
    expect(answers.slice(-2)).toEqual([crowded, crowded]);
    expect(answers.slice(0, -2)).not.toContainEqual(crowded);
    expect(log.filter((line) => line.startsWith('refused'))).toEqual(
      numbered(MOST_WAITING, MOST_WAITING + 2, (at) => `refused uid-${at} queue`),
    );
    // It was not counted as one of theirs.
    expect(rate.take(`uid-${MOST_WAITING}`)).toBe(0);
  });

  it('have each its own fault', async () => {
    const { calls, log } = turn();
    const bad = [
      Buffer.from('ff', 'hex'),
      { csr: 'hello' },
      { csr: requestPem(), validity_duration: 5 },
    ] as const;
    const answers = await calls(good(), bad[0], good(), bad[1], bad[2], good());
    expect(answers.map((answer) => ('code' in answer ? answer.code : 0))).toEqual([0, 3, 0, 3, 3, 0]);
    expect(log.slice(0, 7)).toEqual([
      'sign 4',
      ...[0, 2, 5].map((at) => `issued uid-${at}`),
      ...['refused uid-1 message', 'refused uid-3 csr', 'refused uid-4 validity'],
    ]);
    expect(log.slice(7)).toEqual(
      [0, 1, 2, 3, 4, 5].map((at) => `answer ${at} ${'code' in answers[at]! ? 3 : 'chain'}`),
    );
  });

  it('get nothing signed for those whose senders went away meanwhile', async () => {
    const { calls, gone, log } = turn();
    const all = calls(...many(3));
    await microtasks();
    gone.add(1);
    await all;
    expect(log).toEqual(
      expect.arrayContaining(['sign 2', 'issued uid-0', 'issued uid-2', `answer 1 ${status.CANCELLED}`]),
    );
    expect(log).not.toContain('issued uid-1');
  });

  it('get nothing signed for those whose proof holds no more', async () => {
    const quarantined = { ...refused.refusal, factor: 'quarantine', detail: 'cut off' } as const;
    const { calls, log } = turn({ recheck: ({ pod }) => (pod.uid === 'uid-1' ? quarantined : undefined) });
    const answers = await calls(...many(3));
    expect(answers[1]).toEqual({ code: status.PERMISSION_DENIED, details: refused.refusal.publicMessage });
    expect(log).toEqual(expect.arrayContaining(['sign 2', 'refused uid-1 proof', 'issued uid-0']));
    expect(log).not.toContain('issued uid-1');
  });

  it.each<[string, () => []]>([
    [
      'throws',
      () => {
        throw new TypeError('broken');
      },
    ],
    ['leaves all of them out', () => []],
  ])('are told to try again where the signer as a whole %s', async (_what, sign) => {
    const { calls, log } = turn({ sign });
    const answers = await calls(good(), { csr: 'x', validity_duration: 5 }, good());
    expect(answers).toEqual([
      expect.objectContaining({ code: status.UNAVAILABLE }),
      expect.objectContaining({ code: status.INVALID_ARGUMENT }),
      expect.objectContaining({ code: status.UNAVAILABLE }),
    ]);
    expect(log.filter((line) => line.startsWith('failed'))).toHaveLength(2);
    expect(log.filter((line) => line.startsWith('issued'))).toEqual([]);
  });

  it('are answered though the transport of one throws', async () => {
    const told: string[] = [];
    const service = new CertificateService({
      root,
      attest: async () => proven,
      recheck: () => undefined,
      bundle: () => authority.bundle,
      sign: signAll,
      validity: { minMs: 60_000, maxMs: 86_400_000, svidTtlMs: 3_600_000 },
      rate: new RequestRate({ perMinute: Infinity, ticks: () => 0 }),
      statusOf,
      ticks: () => 0,
      observer: { issued: () => {}, refused: () => {}, failed: (error) => told.push(String(error)) },
    });
    const call = {
      credentials: { bearer: 'token', peerAddress: undefined },
      message: encoded(good()),
      cancelled: () => false,
    };
    service.answer(call, () => {
      throw new Error('closed');
    });
    expect(await new Promise((resolve) => service.answer(call, resolve))).toHaveProperty('message');
    expect(told).toEqual(['Error: closed']);
  });
});
