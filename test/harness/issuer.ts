import { createServer, type Server } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';

/** An issuer of request tokens, with its keys at a URL on this machine. */
export class TestIssuer {
  readonly name: string;
  #server: Server | undefined;
  #port = 0;
  #keys: { readonly kid: string; readonly jwk: JWK; readonly sign: CryptoKey }[] = [];

  private constructor(name: string) {
    this.name = name;
  }

  static async start(name: string): Promise<TestIssuer> {
    const issuer = new TestIssuer(name);
    await issuer.rotate();
    await issuer.serve();
    return issuer;
  }

  get jwksUri(): string {
    return `http://127.0.0.1:${this.#port}/keys`;
  }

  /** Another key instead of the one before. */
  async rotate(): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const kid = `key-${Math.random()}`;
    this.#keys = [{ kid, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256' }, sign: privateKey }];
  }

  async token(claims: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const [key] = this.#keys;
    if (key === undefined) throw new Error('no key');
    return await new SignJWT({ sub: 'alice', ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: key.kid })
      .setIssuer(this.name)
      .setExpirationTime('1h')
      .sign(key.sign);
  }

  /** On the port that it had before, if it had one. */
  async serve(): Promise<void> {
    const server = createServer((_request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ keys: this.#keys.map(({ jwk }) => jwk) }));
    });
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    const address = server.address();
    this.#port = typeof address === 'object' && address !== null ? address.port : 0;
    this.#server = server;
  }

  /** Nobody answers any more. */
  goAway(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
  }
}
