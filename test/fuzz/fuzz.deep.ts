import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { budget } from './budget.ts';
import { documents } from './documents.ts';
import { throughAll } from './invariants.ts';
import { largeDocuments } from './large-documents.ts';
import { large } from './large.ts';
import { throughParser } from './parsers.ts';
import { texts } from './texts.ts';

/** Far above what any of them takes; what grows with the square of its size takes far longer. Milliseconds. */
const CEILING_MS = 60_000;
/** Whoever asks for more cases waits for them. */
const UNLIMITED = 0;

describe('any YAML at all', () => {
  it(
    'neither throws nor compiles to more than it says',
    () => {
      fc.assert(
        fc.property(texts(), (text) => {
          throughAll(text);
        }),
        budget('texts'),
      );
    },
    UNLIMITED,
  );

  it.each(large())(
    'no end of %s is read or refused',
    (_name, text) => {
      const begun = performance.now();
      throughAll(text());
      expect(performance.now() - begun).toBeLessThan(CEILING_MS);
    },
    2 * CEILING_MS,
  );
});

describe('any document beside a policy', () => {
  it(
    'is read as it says or refused, and no secret of it is told',
    () => {
      fc.assert(
        fc.property(documents(), (written) => {
          throughParser(written);
        }),
        budget('documents'),
      );
    },
    UNLIMITED,
  );

  it.each(largeDocuments())(
    'no end of %s is read or refused',
    (_name, written) => {
      const begun = performance.now();
      throughParser(written());
      expect(performance.now() - begun).toBeLessThan(CEILING_MS);
    },
    2 * CEILING_MS,
  );
});
