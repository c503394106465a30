import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeRestoredDocument, type Authority } from '../../../src/authority/index.ts';
import { Watchable } from '../../../src/core/index.ts';
import { parseSpiffeId, verifyJwtSvid, verifyX509Svid } from '../../../src/spiffe/index.ts';
import { createAuthorityStage, type AuthorityStage } from '../../support/authority-stage.ts';
import { parsed } from '../../support/parsed-certificate.ts';

const ORDERS = parseSpiffeId('spiffe://example.test/orders');
const KINDS = ['x509', 'jwt'] as const;

interface Backup {
  readonly texts: ReadonlyMap<string, string>;
  readonly keys: ReadonlyMap<string, Uint8Array>;
}

async function takeBackup({ stores, keyManager }: AuthorityStage): Promise<Backup> {
  const keys = new Map<string, Uint8Array>();
  for (const id of await keyManager.list()) keys.set(id, await keyManager.exports!.exportKey(id));
  return { texts: new Map(stores.texts), keys };
}

/** As `svidgate restore` does. */
async function restore({ stores, keyManager }: AuthorityStage, { texts, keys }: Backup): Promise<void> {
  for (const [id, pkcs8] of keys) await keyManager.exports!.importKey(id, pkcs8);
  for (const [name, restored] of texts) {
    const present = stores.texts.get(name);
    stores.texts.set(name, present === undefined ? restored : mergeRestoredDocument(name, { restored, present }));
  }
}

async function rotate(authority: Authority, kind: (typeof KINDS)[number]): Promise<void> {
  await authority.activate(await authority.prepare(kind));
}

async function pass(stage: AuthorityStage, authority: Authority): Promise<void> {
  const stop = new AbortController();
  const running = authority.run(stop.signal);
  await stage.clock.advance(60_000);
  stop.abort();
  await running;
}

const stateOf = (authority: Authority, id: string) => authority.slots.value.find((slot) => slot.id === id)?.state;

test('an authority that was revoked or tainted since the backup stays so, and no key is left over', async () => {
  const stage = createAuthorityStage({ ackTimeoutMs: 0 });
  const authority = await stage.open();
  for (const kind of KINDS) await rotate(authority, kind);
  const backup = await takeBackup(stage);
  const old = KINDS.map((kind) => authority.slots.value.find((slot) => slot.kind === kind && slot.state === 'old')!);
  const active = KINDS.map((kind) =>
    authority.slots.value.find((slot) => slot.kind === kind && slot.state === 'active')!,
  );
  for (const name of old) {
    await authority.taint(name);
    await authority.revoke(name);
  }
  for (const name of active) {
    await rotate(authority, name.kind);
    await authority.taint(name);
  }
  await restore(stage, backup);
  const again = await stage.open();
  await pass(stage, again);
  for (const { id } of old) assert.equal(stateOf(again, id), 'revoked');
  for (const { id } of active) assert.equal(stateOf(again, id), 'tainted');
  assert.ok((await again.issueX509Svid({ spiffeId: ORDERS })).authorityId !== active[0]!.id);
  const named = again.slots.value.filter(({ state }) => state !== 'revoked').map(({ keyId }) => keyId);
  assert.deepEqual([...(await stage.keyManager.list())].sort(), named.sort());
});

test('what was signed since the backup stays valid, and the sequence of the bundle never goes back', async () => {
  const stage = createAuthorityStage({ ackTimeoutMs: 0 });
  const authority = await stage.open();
  const backup = await takeBackup(stage);
  for (const kind of KINDS) await rotate(authority, kind);
  const svid = await authority.issueX509Svid({ spiffeId: ORDERS });
  const token = await authority.issueJwtSvid({ spiffeId: ORDERS, audience: ['a'] });
  const before = authority.bundle.value;
  for (const _ of ['once', 'twice']) {
    await restore(stage, backup);
    const again = await stage.open();
    await pass(stage, again);
    const bundle = again.bundle.value;
    assert.ok(bundle.sequence > before.sequence);
    const now = stage.clock.now();
    const authorities = () => bundle.x509Authorities.map(parsed);
    assert.ok(verifyX509Svid(parsed(svid.certificateChain[0]!), { authorities, now }).valid);
    await verifyJwtSvid(token.token, { audience: ['a'], bundles: () => bundle, now });
  }
});

test('a revocation list that is signed after a restore has a number that none had before', async () => {
  const target = { kind: 'serial', serial: '1234' } as const;
  const all = [{ id: 'r', target, reason: 'key_compromise', revokedAt: 0 }] as const;
  const answers = { hasSerial: () => false, hasSpiffeId: () => false, hasSerialOf: () => false };
  const stage = createAuthorityStage({ revocations: new Watchable({ all, ...answers }), ackTimeoutMs: 0 });
  const authority = await stage.open();
  const backup = await takeBackup(stage);
  await rotate(authority, 'x509');
  const numberOf = (): number => (JSON.parse(stage.stores.texts.get('authority-crls')!) as { number: number }).number;
  const before = numberOf();
  await restore(stage, backup);
  assert.equal(numberOf(), before);
  const again = await stage.open();
  assert.equal(again.bundle.value.revocationLists?.length, again.bundle.value.x509Authorities.length);
});

for (const { name, present } of [
  { name: 'is damaged', present: 'x' },
  { name: 'is of another trust domain', present: undefined },
]) {
  test(`where what is here ${name}, the backup's journal is taken as it is`, async () => {
    const stage = createAuthorityStage();
    await stage.open();
    const restored = stage.stores.texts.get('authority')!;
    const here = present ?? restored.replace('"trustDomain":"example.test"', '"trustDomain":"other.test"');
    assert.equal(mergeRestoredDocument('authority', { restored, present: here }), restored);
    assert.equal(mergeRestoredDocument('another', { restored, present: here }), restored);
  });
}
