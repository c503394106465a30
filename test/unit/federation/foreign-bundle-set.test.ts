import assert from 'node:assert/strict';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  noMetrics,
  silentLogger,
  systemClock,
  SvidgateError,
  type AuditEvent,
  type LogFields,
  type Logger,
} from '../../../src/core/index.ts';
import type { BundleStore } from '../../../src/datastore/index.ts';
import { openForeignBundles, type ForeignBundleSet } from '../../../src/federation/index.ts';
import { generateKeyPair } from '../../../src/pki/index.ts';
import { formatPemBundle, formatSpiffeBundle, parseTrustDomain, type TrustBundle } from '../../../src/spiffe/index.ts';
import { createRootCertificate } from '../../support/certificates.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';
import { waitUntil } from '../../support/wait-until.ts';

const TRUST_DOMAIN = parseTrustDomain('example.test');
const PARTNER = parseTrustDomain('partner.test');
const OTHER = parseTrustDomain('other.test');
const BY = { uid: 0 };

async function bundleOf(trustDomain: typeof PARTNER, sequence = 1): Promise<TrustBundle> {
  const { certificate } = await createRootCertificate({
    uri: `spiffe://${trustDomain}`,
    organization: 'Partner',
    keyPair: generateKeyPair(),
    notBefore: Date.now() - 1000,
    notAfter: Date.now() + 3_600_000,
  });
  return { trustDomain, x509Authorities: [certificate], jwtAuthorities: [], sequence };
}

interface Stage extends AsyncDisposable {
  readonly folder: TempFolder;
  readonly set: ForeignBundleSet;
  readonly stored: Map<string, TrustBundle>;
  readonly warnings: LogFields[];
  readonly audited: AuditEvent[];
  failing: boolean;
}

async function open(before: (folder: string) => Promise<void> = () => Promise.resolve()): Promise<Stage> {
  const folder = await tempFolder();
  await before(folder.path);
  const stored = new Map<string, TrustBundle>();
  const warnings: LogFields[] = [];
  const audited: AuditEvent[] = [];
  const logger: Logger = { ...silentLogger, warn: (fields) => void warnings.push(fields) };
  const write = (act: () => void): Promise<void> => {
    if (stage.failing) return Promise.reject(new SvidgateError('datastore_failed', 'no'));
    act();
    return Promise.resolve();
  };
  const store: BundleStore = {
    list: () => Promise.resolve([...stored.values()]),
    put: (bundle) => write(() => stored.set(bundle.trustDomain, bundle)),
    delete: (trustDomain) => write(() => stored.delete(trustDomain)),
  };
  const set = await openForeignBundles({
    trustDomain: TRUST_DOMAIN,
    store,
    folder: folder.path,
    audit: { record: (event) => void audited.push(event) },
    clock: systemClock,
    logger,
    metrics: noMetrics,
  });
  const stop = new AbortController();
  const running = set.run(stop.signal);
  const stage: Stage = {
    folder,
    set,
    stored,
    warnings,
    audited,
    failing: false,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await folder[Symbol.asyncDispose]();
    },
  };
  return stage;
}

const domains = (stage: Stage): readonly string[] => [...stage.set.bundles.value.keys()];

test('files of the folder are there at the start; they come, change and go by themselves', async () => {
  const partner = await bundleOf(PARTNER);
  await using stage = await open((folder) => writeFile(join(folder, 'partner.test.json'), formatSpiffeBundle(partner)));
  assert.deepEqual(domains(stage), ['partner.test']);
  const other = await bundleOf(OTHER);
  await writeFile(join(stage.folder.path, '.new'), formatPemBundle(other));
  await rename(join(stage.folder.path, '.new'), join(stage.folder.path, 'other.test.pem'));
  await waitUntil('the folder to be read', 10_000, () => domains(stage).length === 2);
  assert.deepEqual(
    stage.set.list().map(({ bundle, source }) => [bundle.trustDomain, source]),
    [
      ['other.test', 'file'],
      ['partner.test', 'file'],
    ],
  );
  await rm(join(stage.folder.path, 'partner.test.json'));
  await waitUntil('the folder to be read', 10_000, () => domains(stage).length === 1);
});

test('a mistake in a file leaves what it gave before, and is said once', async () => {
  const partner = await bundleOf(PARTNER);
  await using stage = await open((folder) => writeFile(join(folder, 'partner.test.json'), formatSpiffeBundle(partner)));
  const before = stage.set.bundles.value.get(PARTNER);
  await writeFile(join(stage.folder.path, 'partner.test.json'), '{"keys": 1}');
  await waitUntil('the folder to be read', 10_000, () => stage.warnings.length > 0);
  await writeFile(join(stage.folder.path, 'other.test.pem'), formatPemBundle(await bundleOf(OTHER)));
  await waitUntil('the folder to be read', 10_000, () => domains(stage).length === 2);
  assert.match(String(stage.warnings[0]?.reason), /no list `keys`/);
  assert.equal(stage.warnings.length, 1);
  assert.equal(stage.set.bundles.value.get(PARTNER), before);
});

test('a file for our own trust domain, for no trust domain, or for one that another file has is passed over', async () => {
  const own = formatPemBundle(await bundleOf(TRUST_DOMAIN));
  await using stage = await open(async (folder) => {
    await writeFile(join(folder, `${TRUST_DOMAIN}.pem`), own);
    await writeFile(join(folder, 'Not A Domain.pem'), own);
    await writeFile(join(folder, 'partner.test.json'), formatSpiffeBundle(await bundleOf(PARTNER, 7)));
    await writeFile(join(folder, 'partner.test.pem'), own);
    await writeFile(join(folder, 'README.md'), 'not a bundle');
  });
  assert.deepEqual(domains(stage), ['partner.test']);
  assert.equal(stage.set.bundles.value.get(PARTNER)?.sequence, 7);
  assert.equal(stage.warnings.length, 3);
});

test('the API sets and deletes bundles of its own; those of files are not its affair', async () => {
  const partner = await bundleOf(PARTNER);
  await using stage = await open(async (folder) =>
    writeFile(join(folder, 'other.test.json'), formatSpiffeBundle(await bundleOf(OTHER))),
  );
  await stage.set.set(partner, BY);
  assert.equal(stage.stored.get('partner.test'), partner);
  assert.deepEqual(domains(stage), ['other.test', 'partner.test']);
  await assert.rejects(stage.set.set(await bundleOf(OTHER), BY), { code: 'conflict', message: /is a file's/ });
  await assert.rejects(stage.set.delete(OTHER, BY), { code: 'conflict' });
  await assert.rejects(stage.set.set(await bundleOf(TRUST_DOMAIN), BY), { code: 'invalid_request' });
  await writeFile(join(stage.folder.path, 'partner.test.json'), formatSpiffeBundle(await bundleOf(PARTNER, 9)));
  await waitUntil('the folder to be read', 10_000, () => stage.warnings.length > 0);
  assert.equal(stage.set.bundles.value.get(PARTNER), partner, 'the API was first');
  await stage.set.delete(PARTNER, BY);
  assert.equal(stage.set.bundles.value.get(PARTNER)?.sequence, 9, 'now the file counts');
  await assert.rejects(stage.set.delete(parseTrustDomain('nobody.test'), BY), { code: 'not_found' });
});

test('a change that cannot be stored or recorded has not happened', async () => {
  await using stage = await open();
  stage.failing = true;
  await assert.rejects(stage.set.set(await bundleOf(PARTNER), BY), { code: 'datastore_failed' });
  assert.deepEqual(domains(stage), []);
  stage.failing = false;
  stage.audited.push = () => {
    throw new SvidgateError('audit_failed', 'disk full');
  };
  await assert.rejects(stage.set.set(await bundleOf(PARTNER), BY), { code: 'audit_failed' });
  assert.deepEqual([domains(stage), stage.stored.size], [[], 0]);
});

test('the same content again is no news, and whatever differs is', async () => {
  await using stage = await open();
  const bundle: TrustBundle = {
    ...(await bundleOf(PARTNER)),
    jwtAuthorities: [{ keyId: 'one', publicKey: new Uint8Array([1, 2]) }],
  };
  const { x509Authorities, jwtAuthorities, sequence } = bundle;
  const [key] = jwtAuthorities;
  assert.ok(key);
  const cases = [
    { news: false, next: { x509Authorities: x509Authorities.map((der) => Uint8Array.from(der)) } },
    { news: false, next: { jwtAuthorities: [{ ...key, publicKey: Uint8Array.from(key.publicKey) }] } },
    { news: true, next: { x509Authorities: (await bundleOf(PARTNER)).x509Authorities } },
    { news: true, next: { x509Authorities: [] } },
    { news: true, next: { jwtAuthorities: [{ ...key, keyId: 'two' }] } },
    { news: true, next: { jwtAuthorities: [{ ...key, publicKey: new Uint8Array([1, 3]) }] } },
    { news: true, next: { jwtAuthorities: [key, { ...key, keyId: 'two' }] } },
    { news: true, next: { sequence: sequence + 1 } },
    { news: true, next: { refreshHintSeconds: 60 } },
  ];
  for (const { news, next } of cases) {
    await stage.set.set(bundle, BY);
    const before = stage.set.bundles.value;
    await stage.set.set({ ...bundle, ...next }, BY);
    assert.equal(stage.set.bundles.value !== before, news, Object.keys(next).join());
  }
});
