import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Witnesses } from '../../cmd/control-plane/observers.ts';
import { caFiles, OwnCa } from '../../cmd/control-plane/own-ca.ts';
import { Authority, memoryKeyStore } from '../../src/authority/index.ts';
import { TrustDomain } from '../../src/identity/index.ts';
import { TokenKey } from '../../src/pkcs11/index.ts';
import { operatorCa, type OperatorCa } from '../harness/operator-ca.ts';
import { noSoftHsm, SoftToken } from '../harness/softhsm.ts';
import { waitFor } from '../harness/wait.ts';

const trustDomain = TrustDomain.parse('mesh.example');
const config = {
  trustDomain,
  serverNames: [],
  listen: { host: '127.0.0.1', port: 0 },
  bundleEndpoint: undefined,
};
const gauge = { set: (): void => {} };

describe.skipIf(noSoftHsm)("an operator's CA whose key is in a token", () => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-token-ca-'));
  const [cert, roots] = [join(folder, 'cert.pem'), join(folder, 'roots.pem')];
  let tokens: SoftToken[] = [];
  let uri = '';
  beforeAll(() => {
    // Of one name, with keys of one name: the second takes the place of the first.
    tokens = [new SoftToken(), new SoftToken()];
    for (const token of tokens) token.makeKey('ca');
    uri = tokens[0]!.uri('ca');
  }, 60_000);
  afterAll(() => {
    for (const token of tokens) token.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  /** What the next process of a token finds. */
  function insert(token: SoftToken): void {
    Object.assign(process.env, token.env);
  }

  async function below(root: OperatorCa): Promise<OperatorCa> {
    const key = await TokenKey.open({ uri });
    key.close();
    return await operatorCa({ name: 'Mesh CA', by: root, pathLength: 1, publicKey: key.publicKey });
  }

  it('is renewed with another key of the same name', { timeout: 120_000 }, async () => {
    const [one, two] = tokens;
    const root = await operatorCa({ name: 'Root' });
    insert(two!);
    const renewed = await below(root);
    insert(one!);
    writeFileSync(cert, (await below(root)).pem, { mode: 0o600 });
    writeFileSync(roots, root.pem, { mode: 0o600 });

    const refused: object[] = [];
    const witnesses = {
      metrics: { caRefused: gauge },
      audit: { record: (): void => {} },
      log: { info: (): void => {}, error: (fields: object) => refused.push(fields) },
    } as unknown as Witnesses;
    const source = caFiles({ kind: 'files', cert, key: uri, roots });
    const ownCa = new OwnCa(source, config, witnesses, () => {});
    const store = memoryKeyStore();
    const ca = await ownCa.first(store);
    const options = { store, trustDomain, ca, nowMs: Date.now, svidTtlMs: 3_600_000 };
    const authority = await Authority.open(options);
    let plugged = 0;
    const stop = ownCa.follow(authority, () => (plugged += 1));
    const bounds = { timeoutMs: 60_000, everyMs: 100 };
    try {
      // The certificate comes before its key.
      writeFileSync(cert, renewed.pem);
      await waitFor('a refusal', () => (refused.length > 0 ? true : undefined), bounds);
      expect(refused).toEqual([expect.objectContaining({ code: 'ca-key-mismatch' })]);
      insert(two!);
      await waitFor('the other key', () => (plugged > 0 ? true : undefined), bounds);
      expect(authority.ca?.root.chain).toEqual([renewed.der]);
      expect(refused).toHaveLength(1);
    } finally {
      await stop();
      authority.close();
    }
  });
});
