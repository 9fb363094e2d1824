import { connect } from 'node:net';

/** Says `text` on a new TCP connection. @returns what came back until as much as was said, or until the end */
export async function exchange(options: { host: string; port: number; text: string }): Promise<string> {
  return await new Promise((resolve) => {
    let back = '';
    const socket = connect({ host: options.host, port: options.port }, () => socket.write(options.text));
    socket.setEncoding('utf8').on('data', (text: string) => {
      back += text;
      if (back.length >= options.text.length) socket.destroy();
    });
    socket.setTimeout(10_000, () => socket.destroy());
    socket.once('error', () => socket.destroy());
    socket.once('close', () => resolve(back));
  });
}
