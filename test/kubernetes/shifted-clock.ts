import { readFileSync } from 'node:fs';

/** Imported before a process's own code: its `Date.now` is ahead by what a file says, in milliseconds. */
const file = process.env['COUNTERSIGN_TEST_CLOCK'] ?? '';
const real = Date.now;
let aheadMs = 0;
Date.now = (): number => real() + aheadMs;
setInterval(() => (aheadMs = Number(readFileSync(file, 'utf8'))), 50).unref();
