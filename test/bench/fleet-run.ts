import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from './clock.ts';
import type { FleetProtocol } from './fleet.ts';
import type { MeasuredProcess } from './measured-process.ts';
import type { MeasuredServer } from './servers.ts';
import type { SidecarIdentity } from './sidecar.ts';

/** What one cold start of one server gave, and the changes after it. */
export interface FleetRun {
  /** From the first connection to the last sidecar that holds everything. */
  readonly startMs: number;
  readonly startCpuSeconds: number;
  /** From the rename of the file: each sidecar's time, for each change. */
  readonly changesMs: readonly (readonly number[])[];
  /** Of the server, for one change and the acknowledgements that it brings. */
  readonly changeCpuSeconds: number;
  /** Bytes that each connected sidecar added, after garbage collection. */
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** What the first sidecar was sent at the start, and what one was sent at the last change. */
  readonly messages: readonly Uint8Array[];
  readonly change: Uint8Array;
}

export interface FleetChange {
  readonly marker: string;
  /** Moves the prepared file into place. */
  readonly apply: () => void;
}

/** Acknowledgements and the like have been dealt with by then; a server that has nothing to do is idle after. */
const quietMs = 150;

/** @param profile folder for CPU profiles of both phases */
export async function runFleet(options: {
  readonly fleet: MeasuredProcess<FleetProtocol>;
  readonly server: MeasuredServer;
  readonly sidecars: readonly SidecarIdentity[];
  readonly changes: readonly FleetChange[];
  readonly profile: string | undefined;
}): Promise<FleetRun> {
  const { fleet, server, sidecars, changes, profile } = options;
  const { process, target } = server;
  const profiled = async <T>(phase: string, run: () => Promise<T>): Promise<T> => {
    if (profile === undefined) return await run();
    await process.ask('profile', undefined);
    const result = await run();
    await process.ask('profiled', join(profile, `${phase}.cpuprofile`));
    return result;
  };
  const before = await process.ask('memory', undefined);
  const { opened, startCpuSeconds } = await profiled('cold-start', async () => {
    const cpuBefore = await process.ask('cpu', undefined);
    const held = await fleet.ask('open', { ...target, sidecars });
    await sleep(quietMs);
    return { opened: held, startCpuSeconds: (await process.ask('cpu', undefined)) - cpuBefore };
  });
  const after = await process.ask('memory', undefined);
  const applied = await profiled('policy-change', async () => {
    const cpuBefore = await process.ask('cpu', undefined);
    const seen = await applyAll(fleet, changes);
    return { ...seen, cpuSeconds: (await process.ask('cpu', undefined)) - cpuBefore };
  });
  await fleet.ask('close', undefined);
  return {
    startMs: Math.max(...opened.completeMs) - opened.startedMs,
    startCpuSeconds,
    changesMs: applied.changesMs,
    changeCpuSeconds: applied.cpuSeconds / changes.length,
    change: applied.change,
    messages: opened.messages,
    residentBytes: (after.resident - before.resident) / sidecars.length,
    heapBytes: (after.heap - before.heap) / sidecars.length,
  };
}

async function applyAll(
  fleet: MeasuredProcess<FleetProtocol>,
  changes: readonly FleetChange[],
): Promise<Pick<FleetRun, 'changesMs' | 'change'>> {
  const changesMs: (readonly number[])[] = [];
  let change: Uint8Array = Buffer.alloc(0);
  for (const { marker, apply } of changes) {
    await fleet.ask('expect', marker);
    const appliedMs = monotonicMs();
    apply();
    const { atMs, message } = await fleet.ask('arrived', undefined);
    changesMs.push(atMs.map((ms) => ms - appliedMs));
    change = message;
    await sleep(quietMs);
  }
  return { changesMs, change };
}
