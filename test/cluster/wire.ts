import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** The way to a server for those who take it: a test cuts it for them, and for nobody else. */
export class Wire {
  readonly #targets: readonly number[];
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();
  #state: 'carries' | 'hangs' | 'cut' = 'carries';
  #bytesLeft = Infinity;

  private constructor(targets: readonly number[]) {
    this.#targets = targets;
    this.#server = createServer((client) => this.#take(client));
  }

  /** @param urls the server's; where there are several, the first that takes the connection */
  static async to(...urls: readonly string[]): Promise<Wire> {
    const wire = new Wire(urls.map((url) => Number(new URL(url).port)));
    await new Promise<void>((resolve) => wire.#server.listen(0, '127.0.0.1', resolve));
    return wire;
  }

  /** What stands for the server's: `cluster.kubeconfigOf(who, wire.url)`. */
  get url(): string {
    return `https://${this.address}`;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Ends every connection, and each new one at once, until `mend`. */
  cut(): void {
    this.#state = 'cut';
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Carries so many more bytes from the API server, then ends that connection wherever in a message it is; once. */
  cutAfter(bytes: number): void {
    this.#bytesLeft = bytes;
  }

  /** Carries nothing and ends nothing, until `mend`. */
  hang(): void {
    this.#state = 'hangs';
    for (const socket of this.#sockets) socket.pause();
  }

  mend(): void {
    this.#state = 'carries';
    for (const socket of this.#sockets) socket.resume();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #take(client: Socket): void {
    if (this.#state === 'cut') {
      client.destroy();
      return;
    }
    // Who goes before it is through is seen by whoever carries.
    client.on('error', () => client.destroy());
    this.#dial(client, this.#targets);
  }

  #dial(client: Socket, [port, ...others]: readonly number[]): void {
    if (port === undefined) {
      client.destroy();
      return;
    }
    const upstream = connect(port, '127.0.0.1');
    const refused = (): void => this.#dial(client, others);
    upstream.once('error', refused);
    upstream.once('connect', () => {
      upstream.off('error', refused);
      this.#join(client, upstream);
    });
  }

  #join(client: Socket, upstream: Socket): void {
    if (this.#state === 'cut') {
      client.destroy();
      upstream.destroy();
      return;
    }
    this.#carry(client, upstream, (chunk) => chunk);
    this.#carry(upstream, client, (chunk) => {
      const carried = chunk.subarray(0, this.#bytesLeft);
      this.#bytesLeft = carried.length < chunk.length ? Infinity : this.#bytesLeft - carried.length;
      return carried;
    });
  }

  #carry(from: Socket, to: Socket, through: (chunk: Buffer) => Buffer): void {
    this.#sockets.add(from);
    from.on('data', (chunk: Buffer) => {
      const carried = through(chunk);
      if (!to.write(carried)) from.pause();
      if (carried.length < chunk.length) from.destroy();
    });
    to.on('drain', () => {
      if (this.#state === 'carries') from.resume();
    });
    from.once('end', () => to.end());
    // Which end broke, and how, is for the other end to find out.
    from.on('error', () => from.destroy());
    from.once('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    if (this.#state === 'hangs') from.pause();
  }
}
