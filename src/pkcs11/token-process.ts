import { TokenError } from './errors.ts';
import type { TokenReply, TokenRequest } from './messages.ts';
import { TokenSession } from './session.ts';

/** The process that holds a token: a module that hangs or crashes takes nothing else with it. */
let session: TokenSession | undefined;

function answer(request: TokenRequest): TokenReply {
  if (request.kind === 'open') {
    session = new TokenSession(request.uri);
    return { kind: 'opened', info: session.info };
  }
  if (session === undefined) throw new TokenError('token-failed', 'The token was not opened.');
  if (request.kind === 'check') {
    session.check();
    return { kind: 'checked' };
  }
  return { kind: 'signed', signature: session.sign(Buffer.from(request.data, 'base64')).toString('base64') };
}

process.on('message', (request: TokenRequest) => {
  let reply: TokenReply;
  try {
    reply = answer(request);
  } catch (error) {
    const code = error instanceof TokenError ? error.code : 'token-failed';
    const message = error instanceof Error ? error.message : String(error);
    reply = { kind: 'failed', code, message };
  }
  process.send?.(reply);
});
// A terminal's Ctrl-C goes to all of a group: this one ends when its parent lets go.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());
