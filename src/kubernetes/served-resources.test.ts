import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ApiServer } from './api-server.ts';
import { ServedResources } from './served-resources.ts';
import { FakeApiServer } from './testing.ts';

let fake: FakeApiServer;
let api: ApiServer;
let served: ServedResources;
let nowMs: number;
/** By version. Absent: 404. */
let resources: Record<string, readonly string[]>;
let status: number;

beforeEach(async () => {
  [nowMs, resources, status] = [0, {}, 200];
  fake = new FakeApiServer();
  fake.answer = ({ path, json }) => {
    const names = resources[path.split('/').at(-1) ?? ''];
    if (status !== 200) json({ message: 'no' }, status);
    else if (names === undefined) json({ message: 'none' }, 404);
    else json({ kind: 'APIResourceList', resources: [...names.map((name) => ({ name })), 7] });
  };
  api = new ApiServer({ access: await fake.start() });
  served = new ServedResources({ api, group: 'g.example', versions: ['v1', 'v1beta1'], nowMs: () => nowMs });
});
afterEach(async () => {
  await api.close();
  await fake.stop();
});

describe('the served versions of a group', () => {
  it('are asked for once for all who ask at one time, and again later', async () => {
    resources = { v1beta1: ['things'] };
    expect(await Promise.all([served.pathOf('things'), served.pathOf('others')])).toEqual([
      '/apis/g.example/v1beta1/things',
      undefined,
    ]);
    expect(fake.requests).toHaveLength(2);
    resources = { v1beta1: ['things'], v1: ['things'] };
    expect(await served.pathOf('things')).toBe('/apis/g.example/v1beta1/things');
    nowMs = 1_000;
    expect(await served.pathOf('things')).toBe('/apis/g.example/v1/things');
    expect(fake.requests).toHaveLength(4);
  });

  it('are the first where they may not be read; anything else is an error', async () => {
    status = 403;
    expect(await served.pathOf('things')).toBe('/apis/g.example/v1/things');
    nowMs = 1_000;
    status = 503;
    await expect(served.pathOf('things')).rejects.toThrow(/503/u);
  });
});
