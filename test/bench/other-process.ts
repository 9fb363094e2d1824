import { readdirSync, readFileSync } from 'node:fs';

/** CPU seconds so far of a process that is not ours to ask: of the threads that it has, as Linux counts them. */
export function cpuSecondsOf(pid: number): number {
  const threads = `/proc/${pid}/task`;
  let nanoseconds = 0;
  for (const thread of readdirSync(threads)) {
    // Finer than `stat`, which counts in hundredths of a second.
    nanoseconds += Number(readFileSync(`${threads}/${thread}/schedstat`, 'utf8').split(' ')[0]);
  }
  return nanoseconds / 1e9;
}
