import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Part } from './part.ts';
import { clusterTool } from './tools.ts';

/** One member, reached by a socket in its folder: no port can be taken from it. */
export class Etcd extends Part {
  readonly socket: string;

  constructor(folder: string) {
    const socket = join(folder, 'etcd.sock');
    super({
      name: 'etcd',
      command: clusterTool('etcd'),
      args: () => [
        `--data-dir=${join(folder, 'etcd')}`,
        `--listen-client-urls=unix://${socket}`,
        // Neither is used: there is one member, and its clients know the socket.
        '--advertise-client-urls=http://127.0.0.1:0',
        '--listen-peer-urls=http://127.0.0.1:0',
        // A test outlives its processes' deaths, not the machine's.
        '--unsafe-no-fsync',
        '--log-level=warn',
      ],
      ready: async () => (await ask(socket, 'GET', '/health')).includes('"health":"true"'),
    });
    this.socket = socket;
  }

  /** Forgets every revision before the present one: who asks for a watch from an older one is told 410. */
  async compact(): Promise<void> {
    const answer = await ask(this.socket, 'POST', '/v3/kv/range', { key: 'AA==' });
    const { header } = JSON.parse(answer) as { header: { revision: string } };
    await ask(this.socket, 'POST', '/v3/kv/compaction', { revision: header.revision, physical: true });
  }
}

async function ask(socketPath: string, method: string, path: string, body?: object): Promise<string> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request({ socketPath, method, path, timeout: 5_000 }, resolve);
    sent.once('timeout', () => sent.destroy(new Error('etcd did not answer')));
    sent.once('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
  const answer = await text(response);
  if (response.statusCode === 200) return answer;
  throw new Error(`etcd ${path}: ${response.statusCode ?? 0} ${answer}`);
}
