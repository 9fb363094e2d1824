import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiServer } from './api-server.ts';
import { fieldsAt, textAt } from './fields.ts';
import { Reflector } from './reflector.ts';
import type { ReflectorSink } from './reflector.ts';
import { FakeApiServer, listOf, thing } from './testing.ts';
import type { Asked } from './testing.ts';

let fake: FakeApiServer;
let api: ApiServer;
let told: string[] = [];
let things: string[] = [];
let stopping = new AbortController();
let running: Promise<void>;

function follow(options: { pageSize?: number } = {}): void {
  const sink: ReflectorSink<string> = {
    replaced: (names) => {
      told.push(`replaced ${names.join(',')}`);
      things = [...names];
    },
    set: (name) => {
      told.push(`set ${name}`);
      things.push(name);
    },
    deleted: (name) => {
      told.push(`deleted ${name}`);
      things = things.filter((other) => other !== name);
    },
    absent: () => {
      told.push('absent');
      things = [];
    },
    failed: ({ code }) => told.push(`failed ${code}`),
    recovered: () => told.push('recovered'),
  };
  const reflector = new Reflector({
    api,
    path: '/api/v1/things',
    read: (object) => textAt(fieldsAt(object, 'metadata'), 'name') ?? '?',
    sink,
    random: () => 0.5,
    nowMs: () => performance.now(),
    absentMs: 5,
    backOff: { firstMs: 1, mostMs: 4 },
    ...options,
  });
  running = reflector.run(stopping.signal);
}

/** Answers the requests one after the other; what comes after the last stays open. */
function script(...answers: readonly ((asked: Asked) => void)[]): void {
  const left = [...answers];
  fake.answer = (asked) => {
    const next = left.shift();
    if (next === undefined) asked.open();
    else next(asked);
  };
}

async function heard(...expected: readonly string[]): Promise<void> {
  await vi.waitFor(() => expect(told).toEqual(expected), { timeout: 5_000, interval: 5 });
}

function versionAsked(index: number): string | null {
  return new URL(fake.requests[index]?.replace(/^\w+ /u, 'http://fake') ?? '').searchParams.get(
    'resourceVersion',
  );
}

beforeEach(async () => {
  told = [];
  things = [];
  fake = new FakeApiServer();
  stopping = new AbortController();
  api = new ApiServer({ access: await fake.start(), maxAnswerBytes: 2_000, maxEventBytes: 1_000 });
});

afterEach(async () => {
  stopping.abort();
  await running;
  await api.close();
  await fake.stop();
});

const expired = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };

describe('a reflector', () => {
  it('lists in pages, and watches from the version of the list', async () => {
    script(
      ({ json, query }) => {
        expect(query.get('limit')).toBe('2');
        json(listOf(10, [thing('a', 1), thing('b', 2)], 'more'));
      },
      ({ json, query }) => {
        expect(query.get('continue')).toBe('more');
        json(listOf(10, [thing('c', 3)]));
      },
      ({ open, query }) => {
        expect([query.get('watch'), query.get('resourceVersion'), query.get('allowWatchBookmarks')]).toEqual([
          'true',
          '10',
          'true',
        ]);
        open().events({ type: 'ADDED', object: thing('d', 11) }, { type: 'DELETED', object: thing('a', 12) });
      },
    );
    follow({ pageSize: 2 });
    await heard('replaced a,b,c', 'set d', 'deleted a');
  });

  it.each([
    ['ends', 'end', []],
    ['is cut off', 'cut', ['failed UNREACHABLE', 'recovered']],
  ] as const)(
    'resumes after the last whole event when a watch %s in the middle of one',
    async (_, how, said) => {
      script(
        ({ json }) => json(listOf(10, [])),
        ({ open }) => {
          const watch = open();
          watch.events({ type: 'ADDED', object: thing('a', 11) });
          watch.write('{"type":"ADDED","object":{"metadata":{"na');
          setTimeout(watch[how], 20);
        },
        ({ open }) => open().events({ type: 'ADDED', object: thing('b', 12) }),
      );
      follow();
      await heard('replaced ', 'set a', ...said, 'set b');
      expect(versionAsked(2)).toBe('11');
    },
  );

  it('goes on from a bookmark', async () => {
    script(
      ({ json }) => json(listOf(10, [])),
      ({ open }) => {
        const watch = open();
        watch.events({ type: 'BOOKMARK', object: thing('', 99) });
        watch.end();
      },
      ({ open }) => open().events({ type: 'ADDED', object: thing('a', 100) }),
    );
    follow();
    await heard('replaced ', 'set a');
    expect(versionAsked(2)).toBe('99');
  });

  it('lists again when its version is not kept any more, and so finds what it missed', async () => {
    script(
      ({ json }) => json(listOf(10, [thing('a', 1), thing('b', 2)])),
      ({ open }) => open().events({ type: 'ERROR', object: expired }),
      ({ json }) => json(listOf(20, [thing('b', 2)])),
    );
    follow();
    await heard('replaced a,b', 'replaced b');
    await vi.waitFor(() => expect(versionAsked(3)).toBe('20'));
  });

  it.each([
    ['versions that go back', `${JSON.stringify({ type: 'ADDED', object: thing('z', 5) })}\n`, 'MALFORMED'],
    ['an event that is no JSON', '{"type":\n', 'MALFORMED'],
    ['an event without a version', '{"type":"ADDED","object":{}}\n', 'MALFORMED'],
    ['an event that is too large', 'x'.repeat(1_001), 'TOO_LARGE'],
  ])('lists again after %s', async (_, text, code) => {
    script(
      ({ json }) => json(listOf(10, [thing('a', 1)])),
      ({ open }) => open().write(text),
      ({ json }) => json(listOf(6, [thing('b', 2)])),
    );
    follow();
    await heard('replaced a', `failed ${code}`, 'replaced b', 'recovered');
  });

  it('begins again when the list expires between two pages', async () => {
    script(
      ({ json }) => json(listOf(10, [thing('a', 1)], 'more')),
      ({ json }) => json(expired, 410),
      ({ json, query }) => {
        expect(query.get('continue')).toBeNull();
        json(listOf(20, [thing('b', 2)]));
      },
    );
    follow();
    await heard('replaced b');
  });

  it('asks for smaller pages when one is too large', async () => {
    const large = { ...thing('a', 1), data: 'x'.repeat(3_000) };
    fake.answer = ({ query, json, open }) => {
      if (query.has('watch')) open();
      else if (Number(query.get('limit')) > 8) json(listOf(10, [large]));
      else json(listOf(10, [thing('a', 1)]));
    };
    follow({ pageSize: 500 });
    await heard('replaced a');
    expect(fake.requests.slice(0, 3).map((request) => /limit=(\d+)/u.exec(request)?.[1])).toEqual([
      '500',
      '63',
      '8',
    ]);
  });

  it('believes that a resource is not served when it was said twice, and notices when it is', async () => {
    const gone = { kind: 'Status', code: 404, reason: 'NotFound' };
    script(
      ({ json }) => json(listOf(10, [thing('a', 1)])),
      ({ open }) => open().end(),
      ({ json }) => json(gone, 404),
      ({ json }) => json(listOf(11, [thing('a', 1)])),
      ({ open }) => open().end(),
      ({ json }) => json(gone, 404),
      ({ json }) => json(gone, 404),
      ({ json }) => json(gone, 404),
      ({ json }) => json(listOf(30, [thing('c', 29)])),
    );
    follow();
    await heard('replaced a', 'replaced a', 'absent', 'replaced c');
  });

  it('tells of a row of failures once, and tries on', async () => {
    const down = ({ json }: Asked): void => json({ kind: 'Status', code: 503 }, 503);
    script(down, down, down, ({ json }) => json(listOf(10, [])));
    follow();
    await heard('failed REFUSED', 'replaced ', 'recovered');
  });

  it('tells of refusals by one that was away, where they last', async () => {
    const refuses = ({ json }: Asked): void => json({ message: 'no' }, 403);
    script(
      ({ json }) => json({ message: 'away' }, 503),
      refuses,
      refuses,
      ({ json }) => json({ message: 'away' }, 503),
      refuses,
      refuses,
      refuses,
      refuses,
      ({ json }) => json(listOf(1, [])),
    );
    follow();
    await heard('failed REFUSED', 'failed REFUSED', 'replaced ', 'recovered');
  });

  it('stops at once', async () => {
    script(({ json }) => json(listOf(10, [])));
    follow();
    await vi.waitFor(() => expect(fake.requests).toHaveLength(2));
    stopping.abort();
    await running;
    expect(told).toEqual(['replaced ']);
  });
});
