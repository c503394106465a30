import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createWorkloadApiSource, type WorkloadApiSource } from '../../../../src/authority/index.ts';
import { readJwtBundles } from '../../../../src/authority/workload-api/agent-answers.ts';
import {
  noMetrics,
  silentLogger,
  SvidgateError,
  systemClock,
  Watchable,
  type LogFields,
  type Logger,
} from '../../../../src/core/index.ts';
import { pemEncode } from '../../../../src/pki/index.ts';
import {
  encodeMessage,
  JwtBundlesResponse,
  JwtSvidResponse,
  WORKLOAD_API_SERVICE,
  X509SvidResponse,
  type X509SvidResponseInit,
} from '../../../../src/proto/index.ts';
import { formatJwtBundle, parseSpiffeId, parseTrustDomain, type X509Svid } from '../../../../src/spiffe/index.ts';
import { startGrpcServer } from '../../../../src/transport/index.ts';
import { createTestClock } from '../../../support/test-clock.ts';
import { createTestTrustDomain, type TestTrustDomain } from '../../../support/test-trust-domain.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { waitUntil } from '../../../support/wait-until.ts';

const LIMIT_MS = 20_000;
const WEB = parseSpiffeId('spiffe://example.test/web');

/** An agent that says what it is told to say, and a source that follows it. */
interface StandIn extends AsyncDisposable {
  readonly domain: TestTrustDomain;
  readonly source: WorkloadApiSource;
  /** What FetchX509SVID and FetchJWTBundles answer; an error ends the stream. */
  readonly x509: Watchable<Uint8Array | SvidgateError>;
  readonly jwtBundles: Watchable<Uint8Array | SvidgateError>;
  /** The token that FetchJWTSVID gives. */
  token: string;
  /** Calls of FetchX509SVID. */
  calls: number;
  readonly lines: (LogFields & { readonly message: string; readonly level: string })[];
  svid(path?: string): Promise<X509Svid>;
}

async function standIn(clock = systemClock): Promise<StandIn> {
  const folder = await tempFolder();
  const domain = await createTestTrustDomain('example.test');
  const x509 = new Watchable<Uint8Array | SvidgateError>(answer(domain, await domain.issueX509Svid(request('/web'))));
  const jwtBundles = new Watchable<Uint8Array | SvidgateError>(jwtAnswer(formatJwtBundle(domain.bundle.value)));
  const lines: StandIn['lines'] = [];
  const write =
    (level: string) =>
    (fields: LogFields, message: string): void =>
      void lines.push({ ...fields, message, level });
  const logger: Logger = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: () => logger,
  };
  const tell = (answers: Watchable<Uint8Array | SvidgateError>) =>
    async function* (signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
      for await (const value of answers.watch(signal)) {
        if (value instanceof SvidgateError) throw value;
        yield value;
      }
    };
  const server = await startGrpcServer({
    name: 'workload',
    address: { kind: 'unix', path: join(folder.path, 'agent.sock'), mode: 0o600 },
    methods: [
      {
        kind: 'server-stream',
        path: WORKLOAD_API_SERVICE.fetchX509Svid.path,
        handle(_request, call) {
          assert.deepEqual(call.header('workload.spiffe.io'), ['true']);
          opened.calls += 1;
          return tell(x509)(call.signal);
        },
      },
      {
        kind: 'server-stream',
        path: WORKLOAD_API_SERVICE.fetchJwtBundles.path,
        handle: (_request, { signal }) => tell(jwtBundles)(signal),
      },
      {
        kind: 'unary',
        path: WORKLOAD_API_SERVICE.fetchJwtSvid.path,
        handle: async () => encodeMessage(JwtSvidResponse, { svids: [{ spiffeId: WEB, svid: opened.token }] }),
      },
    ],
    identify: () => ({ pid: 7, uid: 1, gid: 1, exited: new AbortController().signal, close: () => undefined }),
    maxMessageBytes: 1024 * 1024,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const socket = server.address.replace(/^unix:/, '');
  const trustDomain = parseTrustDomain('example.test');
  const source = createWorkloadApiSource({ socket, trustDomain, clock, logger });
  const stop = new AbortController();
  const running = source.run(stop.signal);
  const opened: StandIn = {
    domain,
    source,
    x509,
    jwtBundles,
    token: '',
    calls: 0,
    lines,
    svid: async (path = '/web') => await domain.issueX509Svid(request(path)),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await server.stop(500);
      await folder[Symbol.asyncDispose]();
    },
  };
  return opened;
}

function request(path: string): Parameters<TestTrustDomain['issueX509Svid']>[0] {
  return { spiffeId: parseSpiffeId(`spiffe://example.test${path}`), entryId: 'entry' };
}

function message(svid: X509Svid, domain: TestTrustDomain): NonNullable<X509SvidResponseInit['svids']>[number] {
  return {
    spiffeId: svid.spiffeId,
    x509Svid: Buffer.concat(svid.certificateChain),
    x509SvidKey: svid.privateKey,
    bundle: Buffer.concat(domain.bundle.value.x509Authorities),
  };
}

function answer(domain: TestTrustDomain, svid: X509Svid, more: X509SvidResponseInit = {}): Uint8Array {
  return encodeMessage(X509SvidResponse, { svids: [message(svid, domain)], ...more });
}

function jwtAnswer(text: string): Uint8Array {
  return encodeMessage(JwtBundlesResponse, { bundles: { 'spiffe://example.test': Buffer.from(text) } });
}

const followed = async ({ source }: StandIn): Promise<unknown> =>
  await waitUntil('the first answers', LIMIT_MS, () => {
    return source.problem.value === undefined && source.bundle.value.jwtAuthorities.length === 1;
  });

describe('an agent as the source of identities', () => {
  interface Case {
    readonly what: string;
    readonly says: RegExp;
    readonly answer: (bench: StandIn, svid: X509Svid, other: X509Svid) => Uint8Array;
  }
  const one = (bench: StandIn, svid: X509Svid, change: object): Uint8Array =>
    encodeMessage(X509SvidResponse, { svids: [{ ...message(svid, bench.domain), ...change }] });
  const WRONG: readonly Case[] = [
    { what: 'no message', says: /not a protobuf message/, answer: () => Buffer.from([0xff, 0xff]) },
    { what: 'no SVID', says: /^the answer has no SVID$/, answer: () => encodeMessage(X509SvidResponse, {}) },
    {
      what: 'no bundle',
      says: /^the answer has no bundle of example\.test$/,
      answer: (bench, svid) => one(bench, svid, { bundle: new Uint8Array() }),
    },
    {
      what: 'a bundle with a leaf in it',
      says: /^a bundle holds a certificate that is no CA$/,
      answer: (bench, svid) => one(bench, svid, { bundle: svid.certificateChain[0] }),
    },
    {
      what: 'a bundle that is cut off',
      says: /cut off/,
      answer: (bench, svid) =>
        one(bench, svid, { bundle: bench.domain.bundle.value.x509Authorities[0]!.subarray(0, -9) }),
    },
    {
      what: 'a bundle in PEM',
      says: /certificate/,
      answer: (bench, svid) =>
        one(bench, svid, {
          bundle: Buffer.from(pemEncode('CERTIFICATE', bench.domain.bundle.value.x509Authorities[0]!)),
        }),
    },
    {
      what: 'an SVID without a certificate',
      says: /has no certificate$/,
      answer: (bench, svid) => one(bench, svid, { x509Svid: new Uint8Array() }),
    },
    {
      what: 'the certificate of another workload',
      says: /^the certificate of \S+\/web is not one for it alone$/,
      answer: (bench, svid, other) => one(bench, svid, { x509Svid: other.certificateChain[0] }),
    },
    {
      what: 'the key of another workload',
      says: /^the key of \S+\/web is not that of its certificate$/,
      answer: (bench, svid, other) => one(bench, svid, { x509SvidKey: other.privateKey }),
    },
    {
      what: 'a key that is none',
      says: /^the key of \S+\/web is not PKCS#8 in DER$/,
      answer: (bench, svid) => one(bench, svid, { x509SvidKey: Buffer.from('key') }),
    },
    {
      what: 'an ID that is none',
      says: /./,
      answer: (bench, svid) => one(bench, svid, { spiffeId: 'https://example.test/web' }),
    },
    {
      what: 'the ID of a trust domain',
      says: /is a trust domain and no workload$/,
      answer: (bench, svid) => one(bench, svid, { spiffeId: 'spiffe://example.test' }),
    },
    {
      what: 'a good SVID beside a bad one',
      says: /is not that of its certificate$/,
      answer: (bench, svid, other) =>
        encodeMessage(X509SvidResponse, {
          svids: [message(other, bench.domain), { ...message(svid, bench.domain), x509SvidKey: other.privateKey }],
        }),
    },
    {
      what: 'a federated bundle of a name that is none',
      says: /./,
      answer: (bench, svid) => answer(bench.domain, svid, { federatedBundles: { 'Other!': new Uint8Array() } }),
    },
  ];
  for (const { what, says, answer: wrong } of WRONG) {
    it(`keeps what was good when it is told ${what}, and takes the next good answer`, async () => {
      await using bench = await standIn();
      await followed(bench);
      const before = await bench.source.issueX509Svid({ spiffeId: WEB });
      const bundle = bench.source.bundle.value;
      bench.x509.set(wrong(bench, await bench.svid(), await bench.svid('/other')));
      const reason = await waitUntil('the refusal', LIMIT_MS, () => bench.source.problem.value);
      assert.match(reason, says);
      assert.equal(await bench.source.issueX509Svid({ spiffeId: WEB }), before);
      assert.equal(bench.source.bundle.value, bundle);
      const next = await bench.svid();
      bench.x509.set(answer(bench.domain, next));
      await followed(bench);
      assert.equal((await bench.source.issueX509Svid({ spiffeId: WEB })).serial, next.serial);
      assert.equal(bench.calls, 1, 'on the same stream');
      assert.doesNotMatch(JSON.stringify(bench.lines), /PRIVATE|MII/);
    });
  }

  it('takes the first of several SVIDs of one ID, and passes an equal answer over', async () => {
    await using bench = await standIn();
    await followed(bench);
    const [first, second] = [await bench.svid(), await bench.svid()];
    const bytes = encodeMessage(X509SvidResponse, {
      svids: [first, second].map((svid) => message(svid, bench.domain)),
    });
    bench.x509.set(bytes);
    await waitUntil('the first', LIMIT_MS, () => !bench.source.notHeld.value.hasSerial(first.serial));
    const held = await bench.source.issueX509Svid({ spiffeId: WEB });
    const { value } = bench.source.notHeld;
    bench.x509.set(Buffer.from(bytes));
    bench.x509.set(answer(bench.domain, first, { federatedBundles: { 'other.test': new Uint8Array() } }));
    await waitUntil('the bundle', LIMIT_MS, () => bench.source.foreignBundles.value.size === 1);
    assert.equal(await bench.source.issueX509Svid({ spiffeId: WEB }), held);
    assert.equal(bench.source.notHeld.value, value);
  });

  it('puts foreign bundles together from both streams, and leaves what did not change', async () => {
    await using bench = await standIn();
    await followed(bench);
    const other = await createTestTrustDomain('other.test');
    const federatedBundles = { 'spiffe://other.test': Buffer.concat(other.bundle.value.x509Authorities) };
    const svid = await bench.svid();
    bench.x509.set(answer(bench.domain, svid, { federatedBundles }));
    const own = formatJwtBundle(bench.domain.bundle.value);
    const bundles = (foreign: string): Uint8Array =>
      encodeMessage(JwtBundlesResponse, {
        bundles: { 'spiffe://example.test': Buffer.from(own), 'spiffe://other.test': Buffer.from(foreign) },
      });
    bench.jwtBundles.set(bundles(formatJwtBundle(other.bundle.value)));
    const name = parseTrustDomain('other.test');
    const whole = await waitUntil('both halves', LIMIT_MS, () => {
      const found = bench.source.foreignBundles.value.get(name);
      return found?.x509Authorities.length === 1 && found.jwtAuthorities.length === 1 && found;
    });
    const before = bench.source.bundle.value;
    assert.deepEqual(whole.jwtAuthorities[0]!.keyId, 'key-of-other.test');
    const odd = [{ kty: 'OKP', kid: 'x' }, { kty: 'EC' }, { kty: 'EC', kid: 'y', use: 'x509-svid' }, 'text', null];
    bench.jwtBundles.set(bundles(JSON.stringify({ keys: odd })));
    await waitUntil('odd keys passed over', LIMIT_MS, () => {
      return bench.source.foreignBundles.value.get(name)?.jwtAuthorities.length === 0;
    });
    assert.equal(bench.source.bundle.value, before);
    assert.ok((bench.source.foreignBundles.value.get(name)?.sequence ?? 0) > whole.sequence);
    for (const text of ['', '[]', '{"keys":{}}', '{"keys":[],"keys":[]}', '{"keys":[{"kty":"EC","kid":"z"}]}']) {
      const own = parseTrustDomain('example.test');
      assert.deepEqual([...readJwtBundles(bundles(text), own).unreadable.keys()], [name], text);
      assert.throws(() => readJwtBundles(bundles(text), name), { code: 'invalid_request' }, text);
    }
    bench.jwtBundles.set(jwtAnswer('not JSON'));
    await waitUntil('the refusal', LIMIT_MS, () => bench.lines.some(({ reason }) => reason?.includes('JWK Set')));
    assert.equal(bench.source.bundle.value, before);
  });

  it('gives tokens that are for what was asked, and no others', async () => {
    await using bench = await standIn();
    await followed(bench);
    const now = Math.floor(Date.now() / 1000);
    const claims = { sub: WEB, aud: ['a', 'b'], iat: now, exp: now + 300 };
    const ask = { spiffeId: WEB, audience: ['a'] };
    bench.token = await bench.domain.signToken(claims);
    const { token, expiresAt, issuedAt, keyId } = await bench.source.issueJwtSvid(ask);
    assert.deepEqual(
      { token, expiresAt, issuedAt, keyId },
      { token: bench.token, expiresAt: (now + 300) * 1000, issuedAt: now * 1000, keyId: 'key-of-example.test' },
    );
    const wrong = [
      'no token',
      await bench.domain.signToken({ ...claims, sub: 'spiffe://example.test/other' }),
      await bench.domain.signToken({ ...claims, aud: ['b'] }),
    ];
    for (const token of wrong) {
      bench.token = token;
      await assert.rejects(bench.source.issueJwtSvid(ask), (error: Error & { readonly code?: string }) => {
        assert.equal(error.code, 'upstream_failed');
        assert.doesNotMatch(`${error.message}${String(error.cause)}`, /eyJ/);
        return true;
      });
    }
    const other = parseSpiffeId('spiffe://example.test/other');
    await assert.rejects(bench.source.issueJwtSvid({ spiffeId: other, audience: ['a'] }), {
      message: /gives no JWT-SVID for spiffe:\/\/example\.test\/other$/,
    });
  });

  it('connects again from 1 s to 30 s apart, and warns louder when SVIDs are about to end', async () => {
    const clock = createTestClock(Date.now());
    await using bench = await standIn(clock);
    await followed(bench);
    const { notAfter } = await bench.source.issueX509Svid({ spiffeId: WEB });
    bench.x509.set(new SvidgateError('server_unreachable', 'away'));
    await waitUntil('the loss', LIMIT_MS, () => clock.sleeping === 1);
    const calls = bench.calls;
    await clock.advance(499);
    assert.equal(bench.calls, calls, 'not sooner than half a second');
    for (let tries = 0; tries < 8; tries += 1) {
      const made = bench.calls;
      await clock.advance(30_000);
      await waitUntil('another call', LIMIT_MS, () => bench.calls > made && clock.sleeping === 1);
    }
    const warnings = (level: string): number => bench.lines.filter((line) => line.level === level).length;
    assert.deepEqual([warnings('warn'), warnings('error')], [1, 0]);
    await clock.advance(notAfter - clock.now() - 60_000);
    await waitUntil('the error', LIMIT_MS, () => warnings('error') === 1);
    const [error] = bench.lines.filter(({ level }) => level === 'error');
    assert.equal(error?.message, 'workload api not followed, and svids are about to end');
    assert.equal(error?.expires_at, new Date(notAfter).toISOString());
    await clock.advance(120_000);
    await assert.rejects(bench.source.issueX509Svid({ spiffeId: WEB }), {
      message: /has not renewed the SVID of spiffe:\/\/example\.test\/web$/,
    });
    bench.x509.set(answer(bench.domain, await bench.svid()));
    await clock.advance(30_000);
    await followed(bench);
  });

  it('does not ask again what was refused as a mistake of ours, and goes on with what it has', async () => {
    const clock = createTestClock(Date.now());
    await using bench = await standIn(clock);
    await followed(bench);
    bench.x509.set(new SvidgateError('invalid_request', 'security header missing from request'));
    await waitUntil('the refusal', LIMIT_MS, () => bench.source.problem.value !== undefined && clock.sleeping === 1);
    const calls = bench.calls;
    await clock.advance(600_000);
    assert.equal(bench.calls, calls);
    assert.equal((await bench.source.issueX509Svid({ spiffeId: WEB })).spiffeId, WEB);
  });
});
