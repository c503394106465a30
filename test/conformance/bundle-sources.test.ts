/** Bundles from servers that others wrote: nginx, and a registry of Google's with artifacts that ORAS pushed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { systemClock } from '../../src/core/index.ts';
import type { BundleAnswer, BundleFetcher } from '../../src/policy/download/bundle-fetcher.ts';
import { httpFetcher } from '../../src/policy/download/http-fetcher.ts';
import { ociFetcher } from '../../src/policy/download/oci-fetcher.ts';
import { freePorts } from '../support/envoy-address.ts';
import { buildGoProgram } from '../support/go-program.ts';
import { startNginx, withoutNginx } from '../support/nginx.ts';
import { tempFolder } from '../support/temp-folder.ts';

const ACCESS = { tls: {}, alsoAsk: [], maxBytes: 2 ** 20, timeoutMs: 5000, clock: systemClock };
const ONE = gzipSync('one');
const TWO = gzipSync('another bundle');

const ask = (fetcher: BundleFetcher, etag?: string): Promise<BundleAnswer> =>
  fetcher.fetch({
    ...(etag === undefined ? {} : { etag }),
    takesDelta: etag !== undefined,
    waitMs: 0,
    signal: new AbortController().signal,
  });

/** The bundle and its tag. Fails for `unchanged`. */
async function given(
  fetcher: BundleFetcher,
  etag?: string,
): Promise<{ readonly bytes: Buffer; readonly etag: string }> {
  const answer = await ask(fetcher, etag);
  assert.equal(answer.kind, 'bundle');
  return answer.kind === 'bundle'
    ? { bytes: Buffer.from(answer.bytes), etag: answer.etag ?? '' }
    : { bytes: Buffer.of(), etag: '' };
}

test('nginx gives a file once, and again when it has changed', { skip: withoutNginx }, async () => {
  await using folder = await tempFolder();
  const [port = 0] = await freePorts('127.0.0.1', 1);
  const file = join(folder.path, 'bundle.tar.gz');
  await writeFile(file, ONE);
  const http = `types { application/gzip gz; }
gzip on; gzip_types *; gzip_min_length 1;
server { listen 127.0.0.1:${port}; root ${folder.path}; location = /moved { return 302 /bundle.tar.gz; } }`;
  await using _ = await startNginx(folder.path, http, `http://127.0.0.1:${port}/`);
  for (const path of ['bundle.tar.gz', 'moved']) {
    await writeFile(file, ONE);
    const fetcher = httpFetcher(new URL(`http://127.0.0.1:${port}/${path}`), ACCESS);
    const first = await given(fetcher);
    assert.ok(ONE.equals(first.bytes));
    assert.deepEqual(await ask(fetcher, first.etag), { kind: 'unchanged' });
    await writeFile(`${file}.new`, TWO);
    await rename(`${file}.new`, file);
    const second = await given(fetcher, first.etag);
    assert.ok(TWO.equals(second.bytes));
    assert.notEqual(second.etag, first.etag);
  }
  await assert.rejects(ask(httpFetcher(new URL(`http://127.0.0.1:${port}/none`), ACCESS)), /status 404/);
  await assert.rejects(
    ask(httpFetcher(new URL(`http://127.0.0.1:${port}/bundle.tar.gz`), { ...ACCESS, maxBytes: 10 })),
    /more than 10 bytes/,
  );
});

interface Pushed {
  readonly manifest: string;
  readonly layer: string;
  readonly error?: string;
}

/** See test/conformance/oci-registry/main.go. */
async function startRegistry(): Promise<
  AsyncDisposable & {
    readonly place: { origin: string; repository: string };
    push(tag: string, bundle: Uint8Array): Promise<Pushed>;
  }
> {
  const program = await buildGoProgram(fileURLToPath(new URL('oci-registry', import.meta.url)));
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value as string) as unknown;
  const { host, repository } = (await next()) as { readonly host: string; readonly repository: string };
  return {
    place: { origin: `http://${host}`, repository },
    async push(tag, bundle) {
      child.stdin.write(`${JSON.stringify({ tag, bundle: Buffer.from(bundle).toString('base64') })}\n`);
      const pushed = (await next()) as Pushed;
      assert.equal(pushed.error, undefined);
      return pushed;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}

describe('a registry', { timeout: 300_000 }, () => {
  test('gives what ORAS pushed, by tag and by digest, and says what is not there', async () => {
    await using registry = await startRegistry();
    const one = await registry.push('live', ONE);
    const byTag = ociFetcher({ ...registry.place, reference: 'live' }, ACCESS);
    const first = await given(byTag);
    assert.ok(ONE.equals(first.bytes));
    assert.equal(first.etag, one.layer);
    assert.deepEqual(await ask(byTag, first.etag), { kind: 'unchanged' });
    const two = await registry.push('live', TWO);
    const second = await given(byTag, first.etag);
    assert.ok(TWO.equals(second.bytes));
    assert.equal(second.etag, two.layer);
    const pinned = ociFetcher({ ...registry.place, reference: one.manifest }, ACCESS);
    assert.ok(ONE.equals((await given(pinned)).bytes));
    await assert.rejects(
      ask(ociFetcher({ ...registry.place, reference: 'none' }, ACCESS)),
      /status 404 for the manifest/,
    );
  });
});
