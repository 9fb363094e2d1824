/** gRPC's length-prefixed messages on an HTTP/2 stream, uncompressed. */

const prefixBytes = 5;

export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(prefixBytes + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, prefixBytes);
  return framed;
}

/** Cuts what arrives, in whatever pieces, into messages. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  *read(piece: Buffer): Generator<Buffer> {
    let bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    while (bytes.length >= prefixBytes) {
      const end = prefixBytes + bytes.readUInt32BE(1);
      if (bytes.length < end) break;
      yield bytes.subarray(prefixBytes, end);
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }
}
