import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiServer, fieldsAt, textAt, type Fields } from '../kubernetes/index.ts';
import { FakeApiServer } from '../kubernetes/testing.ts';
import { ObjectKeeper, type FoundObject } from './object-keeper.ts';
import { ObjectShelf } from './testing.ts';

let fake: FakeApiServer;
let shelf: ObjectShelf;
let api: ApiServer;
let keeper: ObjectKeeper;
let told: string[];

beforeEach(async () => {
  fake = new FakeApiServer();
  shelf = new ObjectShelf();
  fake.answer = shelf.answer;
  told = [];
  api = new ApiServer({ access: await fake.start() });
  keeper = new ObjectKeeper({
    api,
    name: 'it',
    collection: (key) => `/${key}`,
    found,
    observer: {
      written: (path) => told.push(`written ${path}`),
      taken: (path, other) => told.push(`taken ${path} by ${other}`),
      failed: (path) => told.push(`failed ${path}`),
    },
    random: () => 0.5,
    backOff: { firstMs: 2, mostMs: 8 },
  });
});
afterEach(async () => {
  keeper.stop();
  await api.close();
  await fake.stop();
});

function found(object: Fields): FoundObject {
  const version = textAt(fieldsAt(object, 'metadata'), 'resourceVersion') ?? '';
  return { namespace: '', version, digest: textAt(object, 'text') ?? '', otherMesh: textAt(object, 'of') };
}

function wanted(text: string): { body: Fields; digest: string } {
  return { body: { metadata: { name: 'it' }, text }, digest: text };
}

describe('an object', () => {
  it('is made, changed and restored, and not written where nothing changed', async () => {
    keeper.want('a', wanted('one'));
    await vi.waitFor(() => expect(told).toEqual(['written /a/it']));
    const made = shelf.objects.get('/a/it')! as unknown as Fields;
    keeper.found('a', found(made));
    keeper.want('a', wanted('one'));
    keeper.want('a', wanted('two'));
    await vi.waitFor(() => expect(told).toHaveLength(2));
    // The watch tells late of what was before our write.
    keeper.found('a', found(made));
    shelf.objects.delete('/a/it');
    keeper.gone('a');
    await vi.waitFor(() => expect(told).toHaveLength(3));
    expect(fake.requests).toEqual(['POST /a', 'PUT /a/it', 'POST /a']);
  });

  it('of another mesh is left alone, told once, and made when it is gone', async () => {
    const theirs = { namespace: '', version: '1', digest: 'x', otherMesh: 'theirs' };
    keeper.found('a', theirs);
    keeper.want('a', wanted('one'));
    keeper.found('a', { ...theirs, version: '2' });
    expect(told).toEqual(['taken /a/it by theirs']);
    keeper.gone('a');
    await vi.waitFor(() => expect(told).toHaveLength(2));
    expect(fake.requests).toEqual(['POST /a']);
  });

  it('whose write fails is written later, and the failure told once', async () => {
    let failures = 3;
    fake.answer = (asked) => {
      failures -= 1;
      if (failures >= 0) asked.json({ message: 'no' }, failures === 2 ? 409 : 500);
      else shelf.answer(asked);
    };
    keeper.want('a', wanted('one'));
    await vi.waitFor(() => expect(told).toEqual(['failed /a/it', 'written /a/it']));
    expect(fake.requests).toHaveLength(4);
  });

  it('is not asked for any more after it is no longer wanted', async () => {
    fake.answer = ({ json }) => json({ message: 'no such namespace' }, 404);
    keeper.want('a', wanted('one'));
    await vi.waitFor(() => expect(fake.requests.length).toBeGreaterThan(1));
    keeper.unwant('a');
    const asked = fake.requests.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(fake.requests.length - asked).toBeLessThanOrEqual(1);
    expect(told).toEqual([]);
  });

  it('is one of many that are written some at a time', async () => {
    let now = 0;
    let most = 0;
    fake.answer = (asked) => {
      now += 1;
      most = Math.max(most, now);
      setTimeout(() => {
        now -= 1;
        shelf.answer(asked);
      }, 2);
    };
    for (let index = 0; index < 50; index += 1) keeper.want(`n${index}`, wanted('one'));
    await vi.waitFor(() => expect(shelf.objects.size).toBe(50), { timeout: 5_000 });
    expect(most).toBe(8);
  });
});
