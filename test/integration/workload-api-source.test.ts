import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createWorkloadApiSource, type WorkloadApiSource } from '../../src/authority/index.ts';
import { readConfig } from '../../src/config/index.ts';
import { silentLogger, systemClock, Watchable, type LogFields, type Logger } from '../../src/core/index.ts';
import { createIdentitySource, type CallerIdentity } from '../../src/identity/index.ts';
import { parseCertificate } from '../../src/pki/index.ts';
import { startServer, type RunningServer } from '../../src/server/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  parseTrustDomain,
  verifyJwtSvid,
  verifyX509Svid,
  type RegistrationEntry,
} from '../../src/spiffe/index.ts';
import { entriesFor, OWN_SELECTOR } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const LIMIT_MS = 30_000;
const TRUST_DOMAIN = parseTrustDomain('example.test');
const ORDERS = parseSpiffeId('spiffe://example.test/orders');
const STOCK = parseSpiffeId('spiffe://example.test/stock');

/** An svidgate above, to which this process is a workload, and a source that follows it. */
interface Chain extends AsyncDisposable {
  readonly source: WorkloadApiSource;
  readonly lines: (LogFields & { readonly message: string })[];
  readonly folder: string;
  entries(...paths: readonly string[]): Promise<void>;
  stopUpper(): Promise<void>;
  startUpper(): Promise<void>;
}

async function chain(config = ''): Promise<Chain> {
  const folder = await tempFolder();
  const file = (name: string): string => join(folder.path, name);
  const lines: Chain['lines'] = [];
  const write = (fields: LogFields, message: string): void => void lines.push({ ...fields, message });
  const logger: Logger = { debug: write, info: write, warn: write, error: write, child: () => logger };
  let upper: RunningServer | undefined;
  const stop = new AbortController();
  await writeFile(
    file('svidgate.yaml'),
    `trust_domain: example.test\ndata_dir: ./data\nworkload_socket: ./api.sock\nadmin: { socket: ./admin.sock }
entries: ./entries.yaml\ntelemetry: { listen: off }\n${config}`,
  );
  const source = createWorkloadApiSource({
    socket: file('api.sock'),
    trustDomain: TRUST_DOMAIN,
    clock: systemClock,
    logger,
  });
  const running = source.run(stop.signal);
  const opened: Chain = {
    source,
    lines,
    folder: folder.path,
    entries: async (...paths) => await writeFile(file('entries.yaml'), entriesFor(...paths)),
    async stopUpper() {
      await upper?.stop('the test stops it');
      upper = undefined;
    },
    async startUpper() {
      const { value, mistakes } = await readConfig(file('svidgate.yaml'));
      assert.ok(value !== undefined, JSON.stringify(mistakes));
      upper = await startServer(value, { logger: silentLogger });
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await opened.stopUpper();
      await folder[Symbol.asyncDispose]();
    },
  };
  return opened;
}

const holds = (source: WorkloadApiSource, ...ids: readonly (typeof ORDERS)[]): boolean =>
  ids.every((id) => !source.notHeld.value.hasSpiffeId(id));

describe('identities from an svidgate above', () => {
  it('are those that it gives us, valid for holders of its bundle, and tokens too', async () => {
    await using chained = await chain();
    const { source } = chained;
    assert.equal(source.problem.value, 'not connected yet');
    assert.deepEqual(source.bundle.value.x509Authorities, []);
    await chained.entries('/orders', '/stock');
    await chained.startUpper();
    await waitUntil(
      'both',
      LIMIT_MS,
      () => holds(source, ORDERS, STOCK) && source.bundle.value.jwtAuthorities.length > 0,
    );
    assert.equal(source.problem.value, undefined);
    const svid = await source.issueX509Svid({ spiffeId: ORDERS });
    const [leaf, ...intermediates] = svid.certificateChain.map(parseCertificate);
    const roots = source.bundle.value.x509Authorities.map(parseCertificate);
    const now = Date.now();
    const verdict = verifyX509Svid(leaf!, { authorities: () => roots, intermediates, now });
    assert.ok(verdict.valid && verdict.spiffeId === ORDERS);
    assert.equal(svid.authorityId, roots[0]!.subjectKeyId);
    const jwt = await source.issueJwtSvid({ spiffeId: STOCK, audience: ['orders'] });
    const verified = await verifyJwtSvid(jwt.token, { audience: ['orders'], bundles: () => source.bundle.value, now });
    assert.equal(verified.spiffeId, STOCK);
    assert.ok(jwt.expiresAt > now && jwt.issuedAt <= now + 1000);
    const other = parseSpiffeId('spiffe://example.test/other');
    const says = /^the agent at \S+ gives no SVID for spiffe:\/\/example\.test\/other$/;
    await assert.rejects(source.issueX509Svid({ spiffeId: other }), { code: 'upstream_failed', message: says });
    await assert.rejects(source.issueJwtSvid({ spiffeId: other, audience: ['a'] }), { code: 'upstream_failed' });
    for (const line of chained.lines) assert.doesNotMatch(JSON.stringify(line), /eyJ|PRIVATE/);
  });

  it('reach callers through the identity source, are pushed on rotation, and go when they are taken back', async () => {
    await using chained = await chain('authority: { x509_svid_ttl: 4s }\n');
    const { source } = chained;
    await chained.entries('/orders', '/stock');
    await chained.startUpper();
    await waitUntil('both', LIMIT_MS, () => holds(source, ORDERS, STOCK));
    const selector = parseSelector(OWN_SELECTOR);
    const entry: RegistrationEntry = { entryId: 'orders', spiffeId: ORDERS, selectors: [selector] };
    const identities = createIdentitySource({
      issuer: source,
      bundle: source.bundle,
      foreignBundles: source.foreignBundles,
      revocations: source.notHeld,
      entries: new Watchable({ match: () => [entry], concerns: () => true }),
      clock: systemClock,
      logger: silentLogger,
    });
    const stop = new AbortController();
    const seen: CallerIdentity[] = [];
    const watching = (async () => {
      for await (const identity of identities.watch(new Set([selector]), stop.signal)) seen.push(identity);
    })();
    try {
      const serials = (): readonly string[] => [
        ...new Set(seen.flatMap(({ svids }) => svids.map(({ svid }) => svid.serial))),
      ];
      await waitUntil('three SVIDs', LIMIT_MS, () => serials().length >= 3);
      for (const { svids } of seen) assert.equal(svids.length, 1, 'never without one');
      await chained.entries('/stock');
      await waitUntil('its end', LIMIT_MS, () => seen.at(-1)?.svids.length === 0);
      assert.ok(holds(source, STOCK) && !holds(source, ORDERS));
      await chained.entries();
      await waitUntil('nothing left', LIMIT_MS, () => !holds(source, STOCK));
      assert.ok(chained.lines.some(({ message }) => message === 'workload api took all identities back'));
      await chained.entries('/orders');
      await waitUntil('it is back', LIMIT_MS, () => seen.at(-1)?.svids.length === 1);
    } finally {
      stop.abort();
      await watching;
    }
  });

  it('stay while it is away, told once, and are followed again when it is back', async () => {
    await using chained = await chain();
    const { source } = chained;
    await chained.entries('/orders');
    await chained.startUpper();
    await waitUntil('one', LIMIT_MS, () => holds(source, ORDERS));
    const before = await source.issueX509Svid({ spiffeId: ORDERS });
    const bundle = source.bundle.value;
    chained.lines.length = 0;
    await chained.stopUpper();
    await waitUntil('it is missed', LIMIT_MS, () => source.problem.value !== undefined);
    assert.equal(await source.issueX509Svid({ spiffeId: ORDERS }), before);
    assert.deepEqual(source.bundle.value.x509Authorities, bundle.x509Authorities);
    const started = performance.now();
    await assert.rejects(source.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] }), { code: 'upstream_failed' });
    assert.ok(performance.now() - started < 10_000);
    await chained.entries('/orders', '/stock');
    await chained.startUpper();
    await waitUntil('both', LIMIT_MS, () => holds(source, ORDERS, STOCK));
    assert.equal(source.problem.value, undefined);
    const told = chained.lines.map(({ message, method, reason }) => `${message} ${method} ${reason}`);
    assert.equal(new Set(told).size, told.length, told.join('\n'));
    assert.ok(chained.lines.every(({ expires_at: end }) => end === undefined || Date.parse(end) === before.notAfter));
  });

  it('are not taken from an agent of another trust domain', async () => {
    await using chained = await chain();
    const { source } = chained;
    const file = join(chained.folder, 'svidgate.yaml');
    await writeFile(
      file,
      'trust_domain: other.test\ndata_dir: ./data\nworkload_socket: ./api.sock\nadmin: { socket: ./admin.sock }\nentries: ./entries.yaml\ntelemetry: { listen: off }\n',
    );
    await writeFile(
      join(chained.folder, 'entries.yaml'),
      JSON.stringify({ entries: [{ spiffe_id: 'spiffe://other.test/orders', selectors: [OWN_SELECTOR] }] }),
    );
    await chained.startUpper();
    const says = "the agent's trust domain is other.test, but trust_domain is example.test";
    await waitUntil('the refusal', LIMIT_MS, () => source.problem.value === says);
    assert.deepEqual(source.bundle.value.x509Authorities, []);
  });
});
