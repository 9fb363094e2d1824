import { Agent, request as httpsRequest } from 'node:https';
import { afterEach, describe, expect, it } from 'vitest';
import { serverCredentials } from '../../test/fake/server-credentials.ts';
import { openAdmissionServer, type AdmissionServer } from './server.ts';
import type { AdmissionRequest, Judgement } from './types.ts';

const open: AdmissionServer[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

const credentials = await serverCredentials('webhook.test');

async function start(judge: (request: AdmissionRequest) => Judgement): Promise<{
  readonly server: AdmissionServer;
  readonly errors: unknown[];
  readonly judged: string[];
}> {
  const errors: unknown[] = [];
  const judged: string[] = [];
  const server = await openAdmissionServer({
    host: '127.0.0.1',
    port: 0,
    credentials,
    judge,
    onJudged: ({ uid }, { allowed }) => judged.push(`${uid} ${allowed}`),
    onError: (error) => errors.push(error),
  });
  open.push(server);
  return { server, errors, judged };
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

async function post(
  { address }: AdmissionServer,
  body: string,
  { path = '/validate', method = 'POST', ca = credentials.ca } = {},
): Promise<Reply> {
  return await new Promise((resolve, reject) => {
    const agent = new Agent({ keepAlive: false });
    const options = {
      host: '127.0.0.1',
      port: address.port,
      servername: 'webhook.test',
      path,
      method,
      ca,
      agent,
    };
    const sent = httpsRequest(options, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function review(change: object = {}): string {
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'u1',
      kind: { group: 'security.countersign.dev', version: 'v1', kind: 'AuthorizationPolicy' },
      operation: 'CREATE',
      object: {},
      ...change,
    },
  });
}

const allow = (): Judgement => ({ allowed: true, warnings: ['mind this'] });

describe('the webhook', () => {
  it('answers a review with its uid, the verdict and the warnings', async () => {
    const { server, judged } = await start(allow);
    const { status, body } = await post(server, review());
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      response: { uid: 'u1', allowed: true, warnings: ['mind this'] },
    });
    expect(judged).toEqual(['u1 true']);
  });

  it('says why it refuses', async () => {
    const { server } = await start(() => ({ allowed: false, message: 'spec: wrong', warnings: [] }));
    const { body } = await post(server, review());
    expect(JSON.parse(body)).toMatchObject({
      response: { allowed: false, status: { code: 422, reason: 'Invalid', message: 'spec: wrong' } },
    });
  });

  it.each([
    ['no JSON', 'nonsense'],
    ['another kind', JSON.stringify({ apiVersion: 'v1', kind: 'Pod' })],
    ['another version', review().replace('admission.k8s.io/v1', 'admission.k8s.io/v1beta1')],
    ['no request', JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' })],
    ['null', 'null'],
  ])('refuses %s as a bad request', async (_what, body) => {
    const { server, judged } = await start(allow);
    expect((await post(server, body)).status).toBe(400);
    expect(judged).toEqual([]);
  });

  it('refuses other paths and methods', async () => {
    const { server } = await start(allow);
    expect((await post(server, review(), { path: '/mutate' })).status).toBe(404);
    expect((await post(server, '', { method: 'GET' })).status).toBe(405);
  });

  it('refuses a body beyond what a review can be, and goes on', async () => {
    const { server } = await start(allow);
    const huge = post(server, review({ object: 'x'.repeat(5 * 1024 * 1024) }));
    // The server closes as soon as it has read enough: whether the client sees the answer or the reset is a race.
    await huge.then(
      ({ status }) => expect(status).toBe(413),
      (error: unknown) => expect(String(error)).toMatch(/ECONNRESET|EPIPE/),
    );
    expect((await post(server, review())).status).toBe(200);
  });

  it('answers with an error where judging fails: the API server then refuses', async () => {
    const { server, errors } = await start(() => {
      throw new Error('broken');
    });
    expect((await post(server, review())).status).toBe(500);
    expect(errors).toHaveLength(1);
  });

  it('serves a renewed certificate to new connections', async () => {
    const { server } = await start(allow);
    const renewed = await serverCredentials('webhook.test');
    server.renew(renewed);
    expect((await post(server, review(), { ca: renewed.ca })).status).toBe(200);
    await expect(post(server, review())).rejects.toThrow(/certificate/);
  });
});
