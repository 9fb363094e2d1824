import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { countersign, root } from '../harness/paths.ts';
import { freePort } from '../harness/ports.ts';
import { Child, run } from '../harness/process.ts';
import { noSoftHsm, softHsm } from '../harness/softhsm.ts';
import { waitFor } from '../harness/wait.ts';

const page = readFileSync(`${root}docs/plug-in-ca.md`, 'utf8');
const blocks = [...page.matchAll(/```sh\n(.*?)```/gsu)].map(([, block = '']) => block);

/** The page, run from its top in a folder of its own, on ports that are free. */
class Reader {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'countersign-docs-'));
  readonly #children: Child[] = [];
  admin = '';
  #at = 0;

  constructor() {
    mkdirSync(join(this.folder, 'manifests'));
  }

  /** The next block of commands, with what it prints. */
  async next(): Promise<string> {
    const { code, stdout, stderr } = await run(
      'sh',
      ['-ec', `cd ${this.folder}\n${this.#block()}`],
      this.#where,
    );
    expect([code, stderr.includes('rror')], stdout + stderr).toEqual([0, false]);
    return stdout;
  }

  /** The next block, which runs a control plane. */
  async startNext(): Promise<Child> {
    this.admin = `127.0.0.1:${await freePort()}`;
    const ports = `--listen 127.0.0.1:${await freePort()} --admin ${this.admin}`;
    const line = this.#block().replace(
      'countersign control-plane',
      `exec countersign control-plane ${ports}`,
    );
    const child = new Child('control plane', 'sh', ['-ec', `cd ${this.folder}\n${line}`], this.#where);
    this.#children.push(child);
    await this.until('the control plane', async () => {
      child.assertRunning();
      return (await fetch(`http://${this.admin}/readyz`)).status === 200;
    });
    return child;
  }

  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    await waitFor(what, async () => ((await holds()) ? true : undefined), {
      timeoutMs: 30_000,
      everyMs: 100,
    });
  }

  async readyz(): Promise<string> {
    return await (await fetch(`http://${this.admin}/readyz`)).text();
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }

  skip(count: number): void {
    this.#at += count;
  }

  get left(): number {
    return blocks.length - this.#at;
  }

  get #where(): { env: NodeJS.ProcessEnv } {
    const path = [dirname(countersign), join(softHsm, 'bin'), process.env['PATH']];
    return { env: { PATH: path.join(':') } };
  }

  #block(): string {
    const block = blocks[this.#at] ?? '';
    this.#at += 1;
    return block
      .replaceAll('127.0.0.1:15014', this.admin)
      .replaceAll('/usr/lib/softhsm', join(softHsm, 'lib'));
  }
}

/** Blocks of the page that are about files; the others are about a token. */
const ABOUT_FILES = 6;

describe('docs/plug-in-ca.md', () => {
  const reader = new Reader();
  const withToken = new Reader();
  afterAll(async () => {
    await reader.close();
    await withToken.close();
  });

  it('makes a CA, renews it, and moves to another root', { timeout: 120_000 }, async () => {
    await reader.next();
    const child = await reader.startNext();
    await reader.next();
    await reader.until('the renewed CA', () =>
      Promise.resolve(child.stdout.split('"ca.plugged"').length === 3),
    );
    const told = await reader.next();
    expect(told).toMatch(/^ok$/mu);
    expect(told).toMatch(/^countersign_ca_refused 0$/mu);
    expect(told).toMatch(/^countersign_certificate_not_after_seconds\{certificate="ca"\} \d/mu);
    await reader.next();
    await reader.until('the next root', async () => (await reader.readyz()).includes('ca-transition: '));
    await reader.until('it to be trusted', async () => (await reader.readyz()).includes('it signs from'));
    expect(await reader.next()).toMatch(/^activated since/mu);
    expect(blocks.length - reader.left).toBe(ABOUT_FILES);
  });

  it.skipIf(noSoftHsm)('keeps the key in a token', { timeout: 120_000 }, async () => {
    withToken.skip(ABOUT_FILES);
    await withToken.next();
    await withToken.startNext();
    expect(await withToken.readyz()).toBe('ok\n');
    expect(withToken.left).toBe(0);
  });

  it('names each refusal by the code that the authority gives it, and all of them', () => {
    const source = readFileSync(`${root}src/authority/errors.ts`, 'utf8');
    const codes = [...source.matchAll(/'(ca-[a-z-]+)'/gu)].map(([, code]) => code);
    const rows = [...page.matchAll(/^\| (`ca-.*?) \|/gmu)].flatMap(([, row = '']) =>
      [...row.matchAll(/`(ca-[a-z-]+)`/gu)].map(([, code]) => code),
    );
    expect(new Set(rows)).toEqual(new Set(codes));
  });
});
