import { fork, type ChildProcess } from 'node:child_process';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { TokenError } from './errors.ts';
import type { TokenReply, TokenRequest } from './messages.ts';
import { RefusedPin } from './refused-pin.ts';
import { parseTokenUri, type TokenUri } from './uri.ts';

export interface TokenKeyOptions {
  /** RFC 7512. */
  readonly uri: string;
  /** For one answer; then its process is ended, and the next call begins with a new one. Default 10 s. */
  readonly timeoutMs?: number;
}

const PROCESS = new URL('./token-process.ts', import.meta.url);

/**
 * A private key in a PKCS#11 token. The module runs in a process of its own: it can neither hold up nor crash this
 * one, nor read what is in its memory.
 */
export class TokenKey {
  /** For people: key and token. */
  readonly where: string;
  readonly publicKey: KeyObject;
  readonly #way: Way;
  #child: ChildProcess | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(opened: Opened, way: Way) {
    this.#child = opened.child;
    this.where = opened.where;
    this.publicKey = opened.publicKey;
    this.#way = way;
  }

  /** @throws TokenError */
  static async open({ uri, timeoutMs = 10_000 }: TokenKeyOptions): Promise<TokenKey> {
    const parsed = parseTokenUri(uri);
    const way = { uri: parsed, timeoutMs, pin: new RefusedPin(parsed.pinFile) };
    return new TokenKey(await openToken(way), way);
  }

  /** What is there now: another key may have taken the place of this one, which stays open. @throws TokenError */
  async renewed(): Promise<TokenKey> {
    return new TokenKey(await openToken(this.#way), this.#way);
  }

  /** @returns as certificates carry it @throws TokenError */
  sign(data: Buffer): Promise<Buffer> {
    return this.#inTurn(async () => {
      const reply = await this.#ask({ kind: 'sign', data: data.toString('base64') });
      if (reply.kind !== 'signed') throw unexpected(reply);
      const signature = Buffer.from(reply.signature, 'base64');
      return this.publicKey.asymmetricKeyType === 'ec' ? derSignature(signature) : signature;
    });
  }

  /** That token and key are there; nothing is signed. @throws TokenError */
  check(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#ask({ kind: 'check' });
    });
  }

  /** For good. */
  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #drop(): void {
    end(this.#child);
    this.#child = undefined;
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #ask(request: TokenRequest): Promise<TokenReply> {
    this.#refuseClosed();
    const child = this.#child?.connected === true ? this.#child : await this.#reopen();
    this.#child = child;
    try {
      return await ask(child, request, this.#way.timeoutMs);
    } catch (error) {
      // A session that failed once may be dead for good: the next call begins with a new one.
      this.#drop();
      throw error;
    }
  }

  #refuseClosed(): void {
    if (this.#closed) throw new TokenError('token-failed', `${this.where} is closed.`);
  }

  async #reopen(): Promise<ChildProcess> {
    const { child, publicKey } = await openToken(this.#way);
    if (publicKey.equals(this.publicKey) && !this.#closed) return child;
    end(child);
    this.#refuseClosed();
    throw new TokenError('key-missing', `${this.where} is another key now: put the former one back.`);
  }
}

/** How a key is come by. */
interface Way {
  readonly uri: TokenUri;
  readonly timeoutMs: number;
  readonly pin: RefusedPin;
}

interface Opened {
  readonly child: ChildProcess;
  readonly publicKey: KeyObject;
  readonly where: string;
}

async function openToken({ uri, timeoutMs, pin }: Way): Promise<Opened> {
  return await pin.spare(() => login(uri, timeoutMs));
}

async function login(uri: TokenUri, timeoutMs: number): Promise<Opened> {
  const child = fork(PROCESS, {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  // Neither keeps the control plane running.
  child.unref();
  child.channel?.unref();
  try {
    const reply = await ask(child, { kind: 'open', uri }, timeoutMs);
    if (reply.kind !== 'opened') throw unexpected(reply);
    const { info } = reply;
    const publicKey = createPublicKey({
      key: Buffer.from(info.publicKey, 'hex'),
      format: 'der',
      type: 'spki',
    });
    return { child, publicKey, where: info.where };
  } catch (error) {
    end(child);
    throw error;
  }
}

/** One request, one reply. @throws TokenError */
async function ask(child: ChildProcess, request: TokenRequest, timeoutMs: number): Promise<TokenReply> {
  const { promise, resolve, reject } = Promise.withResolvers<TokenReply>();
  const slow = (): void =>
    reject(
      new TokenError(
        'token-slow',
        `The token gave no answer within ${timeoutMs} ms: see whether it is there.`,
      ),
    );
  const ended = (code: number | null, signal: string | null): void =>
    reject(
      new TokenError(
        'token-failed',
        `The PKCS#11 module ended its process (${signal ?? `exit code ${code}`}).`,
      ),
    );
  const timer = setTimeout(slow, timeoutMs);
  child.once('message', resolve);
  child.once('exit', ended);
  child.once('error', reject);
  child.send(request);
  try {
    const reply = await promise;
    if (reply.kind === 'failed') throw new TokenError(reply.code, reply.message);
    return reply;
  } finally {
    clearTimeout(timer);
    child.off('message', resolve).off('exit', ended).off('error', reject);
  }
}

/** A module may hang: it is not asked. */
function end(child: ChildProcess | undefined): void {
  child?.once('error', () => {});
  child?.kill('SIGKILL');
}

function unexpected({ kind }: TokenReply): TokenError {
  return new TokenError('token-failed', `The process of the token answered ${kind} to something else.`);
}

/** The two numbers of one length that a token gives, as DER ECDSA-Sig-Value (RFC 3279 section 2.2.3). */
export function derSignature(raw: Buffer): Buffer {
  const half = raw.length / 2;
  const numbers = [raw.subarray(0, half), raw.subarray(half)].map(integer);
  const content = Buffer.concat(numbers);
  // Of P-384 at most 104 bytes: one byte of length is enough.
  return Buffer.concat([Buffer.of(0x30, content.length), content]);
}

function integer(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start += 1;
  const rest = bytes.subarray(start);
  const sign = (rest[0] ?? 0) >= 0x80 ? [0] : [];
  return Buffer.concat([Buffer.of(0x02, rest.length + sign.length, ...sign), rest]);
}
