/** Loaded into each measured server before its own code: the same eyes on the control plane and on its limit. */
import { Session } from 'node:inspector/promises';
import { writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { serve } from './ipc.ts';

export interface Memory {
  /** Bytes. */
  readonly resident: number;
  /** Of JavaScript, buffers included; bytes. */
  readonly heap: number;
}

export type ProbeProtocol = {
  /** CPU seconds of all threads so far. */
  readonly cpu: readonly [undefined, number];
  /** After a full garbage collection. */
  readonly memory: readonly [undefined, Memory];
  readonly profile: readonly [undefined, undefined];
  /** Ends the profile and writes it to this path. */
  readonly profiled: readonly [string, undefined];
};

let session: Session | undefined;

serve<ProbeProtocol>({
  cpu: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  },
  memory: () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
    collect();
    const { rss, heapUsed, external } = process.memoryUsage();
    return { resident: rss, heap: heapUsed + external };
  },
  profile: async () => {
    session = new Session();
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: 200 });
    await session.post('Profiler.start');
    return undefined;
  },
  profiled: async (path) => {
    const profile = await session?.post('Profiler.stop');
    session?.disconnect();
    session = undefined;
    writeFileSync(path, JSON.stringify(profile?.profile));
    return undefined;
  },
});
