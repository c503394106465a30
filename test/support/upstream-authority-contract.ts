import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { MintedCa, UpstreamAuthority } from '../../src/authority/index.ts';
import {
  createCsr,
  createLeafIssuer,
  generateKeyPairOf,
  KEY_TYPES,
  parseCertificate,
  pemEncode,
  signerFor,
  type KeyType,
  type Signer,
} from '../../src/pki/index.ts';
import { parseSpiffeId, trustDomainOf, verifyX509Svid } from '../../src/spiffe/index.ts';
import { tempFolder } from './temp-folder.ts';
import { waitUntil } from './wait-until.ts';

const run = promisify(execFile);

const HOUR = 3600_000;
const TRUST_DOMAIN_ID = 'spiffe://example.test';
const LEAF_ID = parseSpiffeId('spiffe://example.test/orders');

/** One upstream authority over a back end of its own. Disposing ends the back end. */
export interface OpenedUpstream extends AsyncDisposable {
  readonly upstream: UpstreamAuthority;
  /** When the CA that signs ours ends, in epoch milliseconds. */
  readonly notAfter: number;
  /** Puts the back end out of reach, and within it again. */
  readonly breakBackEnd: () => Promise<void>;
  readonly mendBackEnd: () => Promise<void>;
  /** Has another CA sign from now on, under another root. */
  readonly replaceRoot: () => Promise<void>;
  /** It needs no back end for what it has loaded. */
  readonly mintsFromMemory?: boolean;
}

/** What every implementation of UpstreamAuthority keeps to. */
export function upstreamAuthorityContract(name: string, open: () => Promise<OpenedUpstream>): void {
  describe(`${name} as an upstream authority`, () => {
    for (const type of KEY_TYPES.filter((type) => type !== 'rsa-4096')) {
      it(`signs a CA with a key of ${type}, and openssl and we accept what it issues under the root alone`, async () => {
        await using opened = await open();
        const { minted, signer } = await mint(opened.upstream, { type });
        const [certificate] = minted.chain.map(parseCertificate);
        assert.ok(certificate?.isCa === true && certificate.keyUsage?.keyCertSign === true);
        assert.equal(certificate.pathLength, 0);
        assert.deepEqual(certificate.uris, [TRUST_DOMAIN_ID]);
        assert.deepEqual(Buffer.from(certificate.publicKey), signer.publicKey.export({ type: 'spki', format: 'der' }));
        await assertChainHolds(minted, signer);
      });
    }

    it('gives the life that was asked for, backdated, and never more than its own', async () => {
      await using opened = await open();
      const before = Date.now();
      const short = await mint(opened.upstream, { ttlMs: HOUR });
      const certificate = parseCertificate(short.minted.chain[0]!);
      assert.ok(certificate.notBefore < before);
      assert.ok(Math.abs(certificate.notAfter - (before + HOUR)) < 60_000);
      const long = await mint(opened.upstream, { ttlMs: 100 * 365 * 24 * HOUR });
      assert.ok(parseCertificate(long.minted.chain[0]!).notAfter <= opened.notAfter);
    });

    it('never signs two CAs under one name', async () => {
      await using opened = await open();
      const made = await Promise.all([1, 2, 3].map(() => mint(opened.upstream)));
      const serials = made.map(({ minted }) => parseCertificate(minted.chain[0]!).serial);
      assert.equal(new Set(serials).size, 3);
      for (const { minted, signer } of made) await assertChainHolds(minted, signer);
    });

    it('refuses what is no request, and one that its own key did not sign', async () => {
      await using opened = await open();
      const { csr } = await request('ec-p256');
      const forged = Buffer.from(csr);
      forged[forged.length - 5]! ^= 1;
      for (const bytes of [Buffer.alloc(0), Buffer.from('request'), forged]) {
        const attempt = opened.upstream.mintCa({ csr: bytes, ttlMs: HOUR, signal: AbortSignal.timeout(20_000) });
        await assert.rejects(attempt, { code: 'upstream_failed' });
      }
    });

    it('ends when the signal is aborted', async () => {
      await using opened = await open();
      const { csr } = await request('ec-p256');
      const attempt = opened.upstream.mintCa({ csr, ttlMs: HOUR, signal: AbortSignal.abort() });
      await assert.rejects(attempt, { code: 'canceled' });
    });

    it('has its root when it has begun to watch, and tells of another one', async () => {
      await using opened = await open();
      await using running = watching(opened.upstream);
      const [first] = await running.roots(() => true);
      const { minted } = await mint(opened.upstream);
      assert.deepEqual(minted.roots.map(hex), [hex(first!)]);
      await opened.replaceRoot();
      const roots = await running.roots((now) => now.map(hex).join() !== hex(first!));
      const next = await mint(opened.upstream);
      assert.deepEqual(next.minted.roots.map(hex), roots.map(hex));
      await assertChainHolds(next.minted, next.signer);
    });

    it('fails in bounded time while its back end is away, keeps its roots, and goes on when it is back', async () => {
      await using opened = await open();
      await using running = watching(opened.upstream);
      const [root] = await running.roots(() => true);
      await opened.breakBackEnd();
      const started = performance.now();
      const attempt = mint(opened.upstream);
      if (opened.mintsFromMemory === true) await attempt;
      else await assert.rejects(attempt, { code: 'upstream_failed' });
      assert.ok(performance.now() - started < 20_000);
      assert.deepEqual(opened.upstream.roots.value.map(hex), [hex(root!)]);
      await opened.mendBackEnd();
      const { minted, signer } = await mint(opened.upstream);
      await assertChainHolds(minted, signer);
    });
  });
}

/** A key, the request for its CA, and the CA. */
export async function mint(
  upstream: UpstreamAuthority,
  { type = 'ec-p256', ttlMs = HOUR }: { readonly type?: KeyType; readonly ttlMs?: number } = {},
): Promise<{ readonly minted: MintedCa; readonly signer: Signer }> {
  const { csr, signer } = await request(type);
  return { minted: await upstream.mintCa({ csr, ttlMs, signal: AbortSignal.timeout(30_000) }), signer };
}

async function request(type: KeyType): Promise<{ readonly csr: Uint8Array; readonly signer: Signer }> {
  const { privateKey } = await generateKeyPairOf(type);
  const signer = signerFor(privateKey);
  return { csr: await createCsr({ uri: TRUST_DOMAIN_ID, organization: 'svidgate', signer }), signer };
}

/** An SVID issued by the CA is valid, for openssl and for us, to one who holds only the roots. */
export async function assertChainHolds({ chain, roots }: MintedCa, signer: Signer): Promise<void> {
  const now = Date.now();
  const { publicKey } = await generateKeyPairOf('ec-p256');
  const { certificate: leaf } = await createLeafIssuer({ certificate: chain[0]!, signer }).issue({
    uri: LEAF_ID,
    publicKey,
    notBefore: now - 10_000,
    notAfter: now + HOUR / 2,
  });
  const verdict = verifyX509Svid(parseCertificate(leaf), {
    authorities: (domain) => (domain === trustDomainOf(LEAF_ID) ? roots.map(parseCertificate) : undefined),
    intermediates: chain.map(parseCertificate),
    now,
  });
  assert.ok(verdict.valid, JSON.stringify(verdict));
  await using folder = await tempFolder();
  const write = async (name: string, certificates: readonly Uint8Array[]): Promise<string> => {
    const path = join(folder.path, name);
    await writeFile(path, certificates.map((der) => pemEncode('CERTIFICATE', der)).join(''));
    return path;
  };
  const trusted = ['-CAfile', await write('roots', roots), '-untrusted', await write('chain', chain)];
  const args = ['verify', '-x509_strict', '-no-CApath', '-no-CAstore', ...trusted, await write('leaf', [leaf])];
  const { stdout } = await run('openssl', args);
  assert.match(stdout, /: OK\n$/);
}

/** Runs the upstream until disposed. */
function watching(upstream: UpstreamAuthority): AsyncDisposable & {
  /** Waits for roots that fit. */
  roots(fit: (roots: readonly Uint8Array[]) => boolean): Promise<readonly Uint8Array[]>;
} {
  const stop = new AbortController();
  const done = upstream.run(stop.signal);
  return {
    roots: async (fit) =>
      await waitUntil('roots', 20_000, () => {
        const { value } = upstream.roots;
        return value.length > 0 && fit(value) ? value : undefined;
      }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await done;
    },
  };
}

function hex(der: Uint8Array): string {
  return Buffer.from(der).toString('hex');
}
