/** The process dies at each single write, before it or right after it; whatever it left behind must load and serve. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Authority, KeyManager } from '../../../src/authority/index.ts';
import { Watchable } from '../../../src/core/index.ts';
import type { DocumentStore } from '../../../src/datastore/index.ts';
import {
  parseSpiffeId,
  verifyJwtSvid,
  verifyX509Svid,
  type JwtSvid,
  type TrustBundle,
  type X509Svid,
} from '../../../src/spiffe/index.ts';
import { createAuthorityStage, type AuthorityStage } from '../../support/authority-stage.ts';
import { parsed } from '../../support/parsed-certificate.ts';
import type { TestClock } from '../../support/test-clock.ts';

const HOUR = 3600_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');
const DEAD = new Error('the process is dead');

/** Counts writes, and ends everything at the given one. */
class Fate {
  readonly #at: number;
  readonly #does: boolean;
  writes = 0;
  isDead = false;

  constructor(at = Infinity, does = false) {
    this.#at = at;
    this.#does = does;
  }

  async write<T>(work: () => Promise<T>): Promise<T> {
    this.live();
    this.writes += 1;
    if (this.writes !== this.#at) return await work();
    this.isDead = true;
    if (this.#does) await work();
    throw DEAD;
  }

  live(): void {
    if (this.isDead) throw DEAD;
  }
}

function mortal(
  stage: AuthorityStage,
  fate: Fate,
): { readonly documents: DocumentStore; readonly keyManager: KeyManager } {
  const { stores, keyManager } = stage;
  return {
    documents: {
      read: (name) => stores.documents.read(name),
      write: (name, text) => fate.write(() => stores.documents.write(name, text)),
    },
    keyManager: {
      ...keyManager,
      generate: (id, type) => fate.write(() => keyManager.generate(id, type)),
      remove: (id) => fate.write(() => keyManager.remove(id)),
      find: (id) => (fate.live(), keyManager.find(id)),
    },
  };
}

/** What left the process before it died. */
interface Seen {
  bundle: TrustBundle | undefined;
  readonly svids: X509Svid[];
  readonly tokens: JwtSvid[];
  readonly revoked: Set<string>;
}

/** The life of an authority with everything that writes. */
async function live(stage: AuthorityStage, fate: Fate, seen: Seen): Promise<void> {
  const { clock } = stage;
  let authority: Authority;
  const open = async (): Promise<void> => {
    authority = await stage.open(mortal(stage, fate));
    seen.bundle = authority.bundle.value;
    authority.bundle.subscribe((bundle) => (seen.bundle = bundle));
    await issue();
  };
  const issue = async (): Promise<void> => {
    const svid = await authority.issueX509Svid({ spiffeId: ORDERS, ttlMs: 4 * HOUR });
    const token = await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] });
    seen.svids.push(svid);
    seen.tokens.push(token);
  };
  await open();
  for (const kind of ['x509', 'jwt'] as const) {
    await authority!.prepare(kind);
    const { id } = await authority!.prepare(kind);
    await clock.advance(31_000);
    await authority!.activate({ kind, id });
    await issue();
    const old = authority!.slots.value.find((slot) => slot.kind === kind && slot.state === 'old')!;
    await authority!.taint(old);
    seen.revoked.add(old.id); // as soon as it begins: whether it happened is not known to the caller of a dead process
    await authority!.revoke(old);
    await issue();
  }
  for (let hours = 0; hours < 52; hours += 4) {
    await clock.advance(4 * HOUR);
    await open();
    const stop = new AbortController();
    const running = authority!.run(stop.signal);
    await clock.advance(31_000);
    stop.abort();
    await running;
    fate.live();
  }
}

async function assertServes(stage: AuthorityStage, seen: Seen): Promise<void> {
  const { clock } = stage;
  const authority = await stage.open();
  const bundle = authority.bundle.value;
  assert.ok(bundle.sequence >= (seen.bundle?.sequence ?? 0), 'the sequence never goes back');
  assert.ok(bundle.revocationLists === undefined || bundle.revocationLists.length === bundle.x509Authorities.length);
  for (const svid of seen.svids) if (!seen.revoked.has(svid.authorityId)) assertVerifies(svid, bundle, clock);
  for (const token of seen.tokens) if (!seen.revoked.has(token.keyId)) await assertTokenVerifies(token, bundle, clock);
  const svid = await authority.issueX509Svid({ spiffeId: ORDERS });
  const token = await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] });
  assertVerifies(svid, bundle, clock);
  await assertTokenVerifies(token, bundle, clock);
  if (seen.bundle !== undefined) {
    assertVerifies(svid, seen.bundle, clock);
    await assertTokenVerifies(token, seen.bundle, clock);
  }
  const named = authority.slots.value.filter(({ state }) => state !== 'revoked').map(({ keyId }) => keyId);
  assert.deepEqual([...(await stage.keyManager.list())].sort(), named.sort(), 'no key without an authority is left');
}

function assertVerifies(svid: X509Svid, bundle: TrustBundle, clock: TestClock): void {
  if (svid.notAfter < clock.now()) return;
  const [leaf] = svid.certificateChain.map(parsed);
  const authorities = () => bundle.x509Authorities.map(parsed);
  assert.ok(verifyX509Svid(leaf!, { authorities, now: clock.now() }).valid, 'a living SVID verifies');
}

async function assertTokenVerifies(token: JwtSvid, bundle: TrustBundle, clock: TestClock): Promise<void> {
  if (token.expiresAt <= clock.now()) return;
  await verifyJwtSvid(token.token, { audience: ['a'], bundles: () => bundle, now: clock.now() });
}

function createStage(): AuthorityStage {
  const target = { kind: 'serial', serial: '1234' } as const;
  const all = [{ id: 'r', target, reason: 'key_compromise', revokedAt: 0 }] as const;
  const answers = { hasSerial: () => false, hasSpiffeId: () => false, hasSerialOf: () => false };
  return createAuthorityStage({ revocations: new Watchable({ all, ...answers }) });
}

const clean = new Fate();
await live(createStage(), clean, { bundle: undefined, svids: [], tokens: [], revoked: new Set() });
assert.ok(clean.writes > 40, `a whole life has ${clean.writes} writes`);

// Right after one write the disk is as right before the next, but less has left the process: both, in turn.
for (const first of [1, 2]) {
  test(`a process that dies at any of its ${clean.writes} writes leaves a state that serves (${first} of 2)`, async () => {
    for (let at = first; at <= clean.writes; at += 2) {
      const stage = createStage();
      const fate = new Fate(at, first === 2);
      const seen: Seen = { bundle: undefined, svids: [], tokens: [], revoked: new Set() };
      await live(stage, fate, seen).catch((error: unknown) => {
        assert.ok(fate.isDead, String(error));
      });
      assert.ok(fate.isDead);
      try {
        await assertServes(stage, seen);
      } catch (error) {
        throw new Error(`after dying at write ${at}`, { cause: error });
      }
    }
  });
}
