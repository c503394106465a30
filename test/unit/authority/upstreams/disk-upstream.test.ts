import assert from 'node:assert/strict';
import { appendFile, chmod, copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { UpstreamAuthority } from '../../../../src/authority/index.ts';
import { createDiskUpstream } from '../../../../src/authority/upstreams/disk-upstream.ts';
import { noMetrics, systemClock, type Clock, type LogFields, type Logger } from '../../../../src/core/index.ts';
import { parseCertificate, pemCertificates } from '../../../../src/pki/index.ts';
import { makeOutsideCa, type OutsideCaRequest } from '../../../support/outside-ca.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { createTestClock } from '../../../support/test-clock.ts';
import { assertChainHolds, mint, upstreamAuthorityContract } from '../../../support/upstream-authority-contract.ts';
import { waitUntil } from '../../../support/wait-until.ts';

const DAY = 24 * 3600_000;

interface Workbench extends AsyncDisposable {
  readonly path: string;
  /** Messages with their fields. */
  readonly lines: (LogFields & { readonly message: string })[];
  file(name: string): string;
  ca(request: OutsideCaRequest): Promise<void>;
  /** Of the files ca.pem and ca.key, and bundle.pem where wanted. */
  open(options?: { readonly bundle?: boolean; readonly clock?: Clock }): Promise<UpstreamAuthority>;
  /** Puts several files' text into one. */
  join(target: string, ...names: readonly string[]): Promise<void>;
  replace(from: string, to: string): Promise<void>;
}

async function workbench(): Promise<Workbench> {
  const folder = await tempFolder();
  const lines: Workbench['lines'] = [];
  const file = (name: string): string => join(folder.path, name);
  return {
    path: folder.path,
    lines,
    file,
    ca: async (request) => await makeOutsideCa(folder.path, request),
    open: async ({ bundle = false, clock = systemClock } = {}) =>
      await createDiskUpstream({
        certificateFile: file('ca.pem'),
        keyFile: file('ca.key'),
        bundleFile: bundle ? file('bundle.pem') : undefined,
        clock,
        logger: recording(lines),
        metrics: noMetrics,
      }),
    async join(target, ...names) {
      const texts = await Promise.all(names.map((name) => readFile(file(name), 'utf8')));
      await writeFile(file(target), texts.join('junk between certificates\n'));
    },
    async replace(from, to) {
      await copyFile(file(from), file(`${to}.new`));
      await rename(file(`${to}.new`), file(to));
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

function recording(lines: Workbench['lines']): Logger {
  const write = (fields: LogFields, message: string): void => void lines.push({ ...fields, message });
  return { debug: write, info: write, warn: write, error: write, child: () => recording(lines) };
}

upstreamAuthorityContract('a root on disk', async () => {
  const bench = await workbench();
  await bench.ca({ name: 'ca' });
  await bench.ca({ name: 'next' });
  return {
    upstream: await bench.open(),
    notAfter: Date.now() + 31 * DAY,
    mintsFromMemory: true,
    breakBackEnd: async () => await rename(bench.file('ca.pem'), bench.file('ca.away')),
    mendBackEnd: async () => await rename(bench.file('ca.away'), bench.file('ca.pem')),
    async replaceRoot() {
      await bench.replace('next.key', 'ca.key');
      await bench.replace('next.pem', 'ca.pem');
    },
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
});

upstreamAuthorityContract('an intermediate on disk, its root in a bundle', async () => {
  const bench = await workbench();
  await bench.ca({ name: 'root', key: 'RSA-2048' });
  await bench.ca({ name: 'ca', issuer: 'root', key: 'P-384', days: 20 });
  await bench.replace('root.pem', 'bundle.pem');
  await bench.ca({ name: 'next-root' });
  await bench.ca({ name: 'next', issuer: 'next-root' });
  return {
    upstream: await bench.open({ bundle: true }),
    notAfter: Date.now() + 21 * DAY,
    mintsFromMemory: true,
    breakBackEnd: async () => await rename(bench.file('ca.key'), bench.file('key.away')),
    mendBackEnd: async () => await rename(bench.file('key.away'), bench.file('ca.key')),
    async replaceRoot() {
      await bench.replace('next.key', 'ca.key');
      await bench.replace('next.pem', 'ca.pem');
      await bench.replace('next-root.pem', 'bundle.pem');
    },
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
});

describe('a CA on disk', () => {
  for (const key of ['P-256', 'P-384', 'P-521', 'RSA-2048', 'RSA-3072'] as const) {
    it(`signs with a key of ${key}`, async () => {
      await using bench = await workbench();
      await bench.ca({ name: 'ca', key });
      const { minted, signer } = await mint(await bench.open());
      await assertChainHolds(minted, signer);
    });
  }

  it('gives the whole chain, without the root, however the files order it', async () => {
    await using bench = await workbench();
    await bench.ca({ name: 'root' });
    await bench.ca({ name: 'upper', issuer: 'root', constraints: 'critical,CA:TRUE,pathlen:2' });
    await bench.ca({ name: 'lower', issuer: 'upper', constraints: 'critical,CA:TRUE,pathlen:1' });
    await bench.replace('lower.key', 'ca.key');
    await bench.join('ca.pem', 'lower.pem', 'root.pem', 'upper.pem');
    const { minted, signer } = await mint(await bench.open());
    const ids = minted.chain.map((der) => parseCertificate(der).uris.length);
    assert.deepEqual(ids, [1, 0, 0]);
    await assertChainHolds(minted, signer);
  });

  it('publishes every root of its bundle', async () => {
    await using bench = await workbench();
    for (const name of ['ca', 'other']) await bench.ca({ name });
    await bench.join('bundle.pem', 'other.pem', 'ca.pem');
    const upstream = await bench.open({ bundle: true });
    assert.equal(upstream.roots.value.length, 2);
    assert.equal((await mint(upstream)).minted.roots.length, 2);
  });

  it('reads keys in PKCS#8 and SEC 1', async () => {
    await using bench = await workbench();
    await bench.ca({ name: 'ca' });
    const { createPrivateKey } = await import('node:crypto');
    const key = createPrivateKey(await readFile(bench.file('ca.key'), 'utf8'));
    for (const type of ['pkcs8', 'sec1'] as const) {
      await writeFile(bench.file('ca.key'), key.export({ type, format: 'pem' }));
      await mint(await bench.open());
    }
  });

  interface Refusal {
    readonly what: string;
    readonly prepare: (bench: Workbench) => Promise<void>;
    readonly bundle?: boolean;
    readonly says: RegExp;
  }
  const REFUSALS: readonly Refusal[] = [
    { what: 'no file', prepare: async () => undefined, says: /ca\.pem cannot be read$/ },
    {
      what: 'a key of another certificate',
      prepare: async (bench) => {
        for (const name of ['ca', 'other']) await bench.ca({ name });
        await bench.replace('other.key', 'ca.key');
      },
      says: /ca\.key: the key is not that of the certificate$/,
    },
    {
      what: 'a key that others may read',
      prepare: async (bench) => {
        await bench.ca({ name: 'ca' });
        await chmod(bench.file('ca.key'), 0o644);
      },
      says: /ca\.key is not used as a secret: others may read or change it/,
    },
    {
      what: 'an encrypted key',
      prepare: async (bench) => {
        await bench.ca({ name: 'ca' });
        const { createPrivateKey } = await import('node:crypto');
        const key = createPrivateKey(await readFile(bench.file('ca.key'), 'utf8'));
        const encrypted = key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' });
        await writeFile(bench.file('ca.key'), encrypted);
      },
      says: /ca\.key: the key is encrypted$/,
    },
    {
      what: 'a key that cannot sign certificates of ours',
      prepare: async (bench) => await bench.ca({ name: 'ca', key: 'Ed25519' }),
      says: /ca\.key: the key cannot sign: expected P-256/,
    },
    {
      what: 'a file without certificates',
      prepare: async (bench) => {
        await bench.ca({ name: 'ca' });
        await writeFile(bench.file('ca.pem'), 'no certificate here\n');
      },
      says: /ca\.pem holds no certificate in PEM$/,
    },
    {
      what: 'a broken certificate',
      prepare: async (bench) => {
        await bench.ca({ name: 'ca' });
        await appendFile(bench.file('ca.pem'), '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
      },
      says: /ca\.pem: a certificate cannot be read/,
    },
    {
      what: 'a certificate that is no CA',
      prepare: async (bench) => await bench.ca({ name: 'ca', constraints: 'critical,CA:FALSE' }),
      says: /ca\.pem: the CA [0-9a-f]+ is no CA$/,
    },
    {
      what: 'a CA that may not sign certificates',
      prepare: async (bench) => await bench.ca({ name: 'ca', usage: 'critical,cRLSign' }),
      says: /may not sign certificates: keyCertSign is missing/,
    },
    {
      what: 'a CA that allows none below it',
      prepare: async (bench) => await bench.ca({ name: 'ca', constraints: 'critical,CA:TRUE,pathlen:0' }),
      says: /allows 0 intermediates below it, but 1 are needed$/,
    },
    {
      what: 'a root that allows too few below it',
      prepare: async (bench) => {
        await bench.ca({ name: 'root', constraints: 'critical,CA:TRUE,pathlen:1' });
        await bench.ca({ name: 'ca', issuer: 'root' });
        await bench.join('ca.pem', 'ca.pem', 'root.pem');
      },
      says: /above it allows 1 intermediates below it, but 2 are needed$/,
    },
    {
      what: 'name constraints, which verifiers of SVIDs do not process',
      prepare: async (bench) =>
        await bench.ca({ name: 'ca', extensions: ['nameConstraints=critical,permitted;DNS:example.test'] }),
      says: /has the critical extension 2\.5\.29\.30/,
    },
    {
      what: 'a CA for another purpose',
      prepare: async (bench) => await bench.ca({ name: 'ca', extensions: ['extendedKeyUsage=codeSigning'] }),
      says: /is not for TLS/,
    },
    {
      what: 'an intermediate without its root',
      prepare: async (bench) => {
        await bench.ca({ name: 'root' });
        await bench.ca({ name: 'ca', issuer: 'root' });
      },
      says: /no path of at most 8 certificates leads to a root/,
    },
    {
      what: 'a bundle with the root of somebody else',
      prepare: async (bench) => {
        await bench.ca({ name: 'ca' });
        await bench.ca({ name: 'bundle' });
      },
      bundle: true,
      says: /bundle\.pem: the root of \S+ca\.pem is not in it$/,
    },
    {
      what: 'a bundle with something that is no root',
      prepare: async (bench) => {
        await bench.ca({ name: 'ca' });
        await bench.ca({ name: 'lower', issuer: 'ca' });
        await bench.join('bundle.pem', 'ca.pem', 'lower.pem');
      },
      bundle: true,
      says: /bundle\.pem: CA [0-9a-f]+ is no root: it did not sign itself$/,
    },
  ];
  for (const { what, prepare, bundle = false, says } of REFUSALS) {
    it(`refuses ${what}, and says so`, async () => {
      await using bench = await workbench();
      await prepare(bench);
      const upstream = await bench.open({ bundle });
      assert.deepEqual(upstream.roots.value, []);
      await assert.rejects(mint(upstream), { code: 'upstream_failed', message: says });
      const warnings = bench.lines.filter(({ message }) => message === 'upstream authority refused');
      assert.equal(warnings.length, 1, 'told once');
      assert.match(warnings[0]!.reason ?? '', new RegExp(says.source.replace(/\$$/, '')));
      for (const line of bench.lines) assert.doesNotMatch(JSON.stringify(line), /PRIVATE KEY|MII/);
    });
  }

  it('refuses to sign when it has ended, or is not valid yet', async () => {
    await using bench = await workbench();
    await bench.ca({ name: 'ca' });
    for (const [time, says] of [
      [Date.now() + 31 * DAY, /has ended on /],
      [Date.now() - DAY, /is valid only from .*: compare the clocks/],
    ] as const) {
      const upstream = await bench.open({ clock: createTestClock(time) });
      await assert.rejects(mint(upstream), { code: 'upstream_failed', message: says });
    }
  });

  it('goes on with the last good pair while the files do not fit together, with one warning', async () => {
    await using bench = await workbench();
    await bench.ca({ name: 'ca' });
    await bench.ca({ name: 'next' });
    const upstream = await bench.open();
    const stop = new AbortController();
    const running = upstream.run(stop.signal);
    try {
      const [root] = upstream.roots.value;
      await bench.replace('next.key', 'ca.key');
      const refused = (): readonly LogFields[] =>
        bench.lines.filter(({ message }) => message === 'upstream authority refused');
      await waitUntil('the warning', 10_000, () => refused().length > 0);
      assert.match(refused()[0]!.reason ?? '', /not that of the certificate/);
      const { minted, signer } = await mint(upstream);
      await assertChainHolds(minted, signer);
      assert.deepEqual(minted.roots, [root]);
      assert.equal(refused().length, 1);
      await bench.replace('next.pem', 'ca.pem');
      const next = pemCertificates(await readFile(bench.file('next.pem'), 'utf8'))[0]!;
      await waitUntil('the next root', 10_000, () => Buffer.compare(upstream.roots.value[0]!, next) === 0);
      await assertChainHolds(...chainOf(await mint(upstream)));
    } finally {
      stop.abort();
      await running;
    }
  });

  it('does not need its files to have been there at the start', async () => {
    await using bench = await workbench();
    const upstream = await bench.open();
    const stop = new AbortController();
    const running = upstream.run(stop.signal);
    try {
      await bench.ca({ name: 'ca' });
      await waitUntil('the root', 10_000, () => upstream.roots.value.length === 1);
    } finally {
      stop.abort();
      await running;
    }
    await rm(bench.file('ca.key'));
    await mint(upstream);
  });
});

function chainOf({ minted, signer }: Awaited<ReturnType<typeof mint>>): Parameters<typeof assertChainHolds> {
  return [minted, signer];
}
