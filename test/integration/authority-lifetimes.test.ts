/**
 * A clock that the test moves takes an authority through ten lifetimes of CAs and JWT keys, with restarts, manual
 * rotations and taints at random. At no instant may a holder have an SVID that somebody with the bundle refuses, also not
 * somebody whose bundle is as old as the limit for acknowledgements allows.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Authority, BundleAcknowledgements } from '../../src/authority/index.ts';
import { Watchable } from '../../src/core/index.ts';
import { pemEncode, type Certificate } from '../../src/pki/index.ts';
import {
  parseSpiffeId,
  verifyJwtSvid,
  verifyX509Svid,
  type JwtSvid,
  type TrustBundle,
  type X509Svid,
} from '../../src/spiffe/index.ts';
import { createAuthorityStage, createTestUpstream } from '../support/authority-stage.ts';
import { parsed } from '../support/parsed-certificate.ts';
import { tempFolder } from '../support/temp-folder.ts';
import type { TestClock } from '../support/test-clock.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const CA_TTL = 2 * HOUR;
const ACK_TIMEOUT = 30_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');

/** Numbers from 0 to 1 that are the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Sees each bundle some time after it was published, and says so as an Envoy does. */
class Verifier {
  readonly name: string;
  readonly #lagMs: number;
  readonly #clock: TestClock;
  readonly #waiting: { readonly at: number; readonly bundle: TrustBundle }[] = [];
  #roots: readonly Certificate[] = [];
  bundle: TrustBundle;

  constructor(name: string, lagMs: number, context: { readonly clock: TestClock; readonly bundle: TrustBundle }) {
    this.name = name;
    this.#lagMs = lagMs;
    this.#clock = context.clock;
    this.bundle = context.bundle;
    this.#roots = this.bundle.x509Authorities.map(parsed);
  }

  push(bundle: TrustBundle): void {
    this.#waiting.push({ at: this.#clock.now() + this.#lagMs, bundle });
  }

  /** Whether something new has come. */
  receive(): boolean {
    const due = this.#waiting.filter(({ at }) => at <= this.#clock.now());
    this.#waiting.splice(0, due.length);
    const newest = due.at(-1)?.bundle;
    if (newest === undefined) return false;
    this.bundle = newest;
    this.#roots = newest.x509Authorities.map(parsed);
    return true;
  }

  refusalOf(svid: X509Svid): string | undefined {
    const [leaf, ...intermediates] = svid.certificateChain.map(parsed);
    const verdict = verifyX509Svid(leaf!, { authorities: () => this.#roots, intermediates, now: this.#clock.now() });
    return verdict.valid
      ? undefined
      : `${this.name} refuses serial ${svid.serial} of ${svid.authorityId}: ${verdict.reason}`;
  }

  async checkToken(svid: JwtSvid): Promise<void> {
    const bundles = () => this.bundle;
    const verified = await verifyJwtSvid(svid.token, { audience: ['a'], bundles, now: this.#clock.now() });
    assert.equal(verified.spiffeId, ORDERS);
  }
}

/** Rotates at half of the life, and within a minute when its CA is tainted: as src/identity does. */
class Holder {
  svid: X509Svid;
  token: JwtSvid;
  #rotateAt = 0;
  #tokenUntil = 0;
  readonly #ttlMs: number;

  private constructor(ttlMs: number, first: { readonly svid: X509Svid; readonly token: JwtSvid }) {
    this.#ttlMs = ttlMs;
    this.svid = first.svid;
    this.token = first.token;
  }

  static async open(ttlMs: number, authority: Authority): Promise<Holder> {
    const svid = await authority.issueX509Svid({ spiffeId: ORDERS, ttlMs });
    const token = await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] });
    return new Holder(ttlMs, { svid, token });
  }

  async keepFresh(authority: Authority, clock: TestClock): Promise<void> {
    const now = clock.now();
    const tainted = authority.tainted.value;
    if (now >= this.#rotateAt || tainted.has(this.svid.authorityId)) {
      this.svid = await authority.issueX509Svid({ spiffeId: ORDERS, ttlMs: this.#ttlMs });
      this.#rotateAt = now + (this.svid.notAfter - now) / 2;
    }
    if (now >= this.#tokenUntil || tainted.has(this.token.keyId)) {
      this.token = await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] });
      this.#tokenUntil = now + (this.token.expiresAt - now) / 2;
    }
  }
}

/** Everything that runs: one authority at a time, as processes follow each other. */
async function lifetimes(options: { readonly seed: number; readonly withUpstream: boolean }): Promise<void> {
  const random = seeded(options.seed);
  const pick = (limit: number): number => Math.floor(random() * limit);
  const verifiers: Verifier[] = [];
  const changed = new Watchable(0);
  const acknowledgements: BundleAcknowledgements = {
    pending: (sequence) => verifiers.filter(({ bundle }) => bundle.sequence < sequence).map(({ name }) => name),
    changed,
  };
  const stage = createAuthorityStage({ caTtlMs: CA_TTL, ackTimeoutMs: ACK_TIMEOUT, acknowledgements });
  const { clock } = stage;
  const upstream = options.withUpstream ? await createTestUpstream(clock, 100 * CA_TTL) : undefined;
  let authority = await stage.open({ upstream });
  let stop = new AbortController();
  let running = authority.run(stop.signal);
  const publish = (bundle: TrustBundle): void => verifiers.forEach((verifier) => verifier.push(bundle));
  authority.bundle.subscribe(publish);
  for (const lagMs of [0, 1000, ACK_TIMEOUT - 1]) {
    verifiers.push(new Verifier(`verifier ${lagMs}`, lagMs, { clock, bundle: authority.bundle.value }));
  }
  const holders = await Promise.all(
    [1000, 5 * MINUTE, 20 * MINUTE, 4 * HOUR].map((ttlMs) => Holder.open(ttlMs, authority)),
  );

  const restart = async (): Promise<void> => {
    stop.abort();
    await running;
    authority = await stage.open({ upstream });
    authority.bundle.subscribe(publish);
    publish(authority.bundle.value);
    stop = new AbortController();
    running = authority.run(stop.signal);
  };
  const rotateByHand = async (): Promise<void> => {
    const kind = random() < 0.5 ? 'x509' : 'jwt';
    const { id } = await authority.prepare(kind);
    void authority.activate({ kind, id }, {}, stop.signal).catch(() => undefined); // a later prepare may replace it
  };
  const taint = async (): Promise<void> => {
    const old = authority.slots.value.find(({ state }) => state === 'old');
    if (old !== undefined) await authority.taint(old);
  };
  /** As an operator does when no holder has anything left of it. */
  const revoke = async (): Promise<void> => {
    const held = new Set(holders.flatMap(({ svid, token }) => [svid.authorityId, token.keyId]));
    const tainted = authority.slots.value.find(({ id, state }) => state === 'tainted' && !held.has(id));
    if (tainted !== undefined)
      await authority.revoke(tainted).catch((error: unknown) => {
        assert.ok(options.withUpstream, String(error)); // the root of an intermediate stays
      });
  };

  const seen = { x509: new Set<string>(), jwt: new Set<string>() };
  const end = clock.now() + 10 * CA_TTL;
  let tokensChecked = 0;
  while (clock.now() < end) {
    const dice = pick(40);
    if (dice === 0) await rotateByHand();
    else if (dice === 1) await taint();
    else if (dice === 2) await revoke();
    else if (dice === 3) await restart();
    else if (dice === 4) await upstream?.rotate();
    await clock.advance(random() < 0.3 ? pick(ACK_TIMEOUT) : pick(4 * MINUTE));
    for (const verifier of verifiers) if (verifier.receive()) changed.set(changed.value + 1);
    await clock.advance(0);
    for (const holder of holders) {
      await holder.keepFresh(authority, clock);
      seen.x509.add(holder.svid.authorityId);
      seen.jwt.add(holder.token.keyId);
      for (const verifier of verifiers) {
        assert.equal(verifier.refusalOf(holder.svid), undefined);
        if ((tokensChecked += 1) % 10 === 0) await verifier.checkToken(holder.token);
      }
      assert.ok(
        authority.slots.value.some(
          ({ id, notAfter }) => id === holder.svid.authorityId && notAfter >= holder.svid.notAfter,
        ),
      );
    }
  }
  assert.ok(seen.x509.size >= 10 && seen.jwt.size >= 10, 'every lifetime was rotated through');
  assert.ok(authority.slots.value.length < 60, 'what has ended is forgotten');
  if (!options.withUpstream) await checkWithOpenssl(holders[2]!.svid, authority.bundle.value, clock.now());
  stop.abort();
  await running;
}

async function checkWithOpenssl(svid: X509Svid, bundle: TrustBundle, now: number): Promise<void> {
  await using folder = await tempFolder();
  const pem = (certificates: readonly Uint8Array[]): string =>
    certificates.map((der) => pemEncode('CERTIFICATE', der)).join('');
  await writeFile(join(folder.path, 'roots.pem'), pem(bundle.x509Authorities));
  await writeFile(join(folder.path, 'svid.pem'), pem(svid.certificateChain));
  const at = ['-attime', String(Math.floor(now / 1000))];
  const args = ['verify', '-x509_strict', ...at, '-CAfile', 'roots.pem', 'svid.pem'];
  assert.match(execFileSync('openssl', args, { cwd: folder.path }).toString(), /: OK/);
}

for (const seed of [1, 2]) {
  test(`through ten lifetimes no SVID is held that a bundle refuses (${seed})`, () =>
    lifetimes({ seed, withUpstream: false }));
}

test('nor under an upstream whose root is replaced again and again', () => lifetimes({ seed: 3, withUpstream: true }));
