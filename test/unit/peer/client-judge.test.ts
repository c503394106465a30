import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock, Watchable } from '../../../src/core/index.ts';
import { createClientJudge, createPeerVerifier, type PeerRevocations } from '../../../src/peer/index.ts';
import { generateKeyPair, pemCertificates } from '../../../src/pki/index.ts';
import { parseTrustDomain, type ForeignBundles, type TrustBundle } from '../../../src/spiffe/index.ts';
import { createLeafCertificate } from '../../support/certificates.ts';
import { makeOutsideCa } from '../../support/outside-ca.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const ALICE = 'spiffe://example.test/alice';
const HOUR = 3600_000;

const NOTHING_REVOKED: PeerRevocations = {
  all: [],
  hasSerial: () => false,
  hasSpiffeId: () => false,
  hasSerialOf: () => false,
};

const folder = await tempFolder();
await makeOutsideCa(folder.path, { name: 'root' });
await makeOutsideCa(folder.path, { name: 'between', issuer: 'root' });
const read = async (name: string): Promise<string> => readFile(join(folder.path, name), 'utf8');
const [root, between] = [pemCertificates(await read('root.pem'))[0]!, pemCertificates(await read('between.pem'))[0]!];
const privateKey = createPrivateKey(await read('between.key'));
await folder[Symbol.asyncDispose]();

const ca = { certificate: between, keyPair: { privateKey, publicKey: createPublicKey(privateKey) } };
const notAfter = Math.floor((Date.now() + HOUR) / 1000) * 1000;
const { certificate: leaf, serial } = await createLeafCertificate({
  uri: ALICE,
  publicKey: generateKeyPair().publicKey,
  ca,
  notBefore: Date.now() - 10_000,
  notAfter,
});

function openJudge() {
  const bundle = new Watchable<TrustBundle>({
    trustDomain: parseTrustDomain('example.test'),
    x509Authorities: [root],
    jwtAuthorities: [],
    sequence: 1,
  });
  const foreignBundles = new Watchable<ForeignBundles>(new Map());
  const intermediates = new Watchable<readonly Uint8Array[]>([]);
  const revocations = new Watchable<PeerRevocations>(NOTHING_REVOKED);
  const watched = { bundle, foreignBundles, intermediates, revocations };
  const peers = createPeerVerifier({ ...watched, clock: systemClock });
  return { ...watched, judge: createClientJudge({ ...watched, peers }) };
}

test('a chain that the client presents leads to its root, whatever else stands in it', () => {
  const { judge } = openJudge();
  const accepted = { accepted: true, spiffeId: ALICE, serial, validUntil: notAfter };
  assert.deepEqual(judge.judge([leaf]), { accepted: false, reason: 'intermediate_unknown' });
  assert.deepEqual(judge.judge([leaf, between]), accepted);
  assert.deepEqual(judge.judge([leaf, root, between]), accepted);
  assert.deepEqual(judge.judge([leaf, ...Array<Uint8Array>(9).fill(between)]), {
    accepted: false,
    reason: 'intermediate_unknown',
  });
});

test('nothing but a leaf of a client is one', () => {
  const { judge } = openJudge();
  for (const chain of [[between, root], [root], [new Uint8Array([1, 2, 3])], []]) {
    assert.equal(judge.judge(chain).accepted, false);
  }
  assert.equal(judge.judge([leaf, new Uint8Array([1, 2, 3])]).accepted, false);
});

test('what is revoked is refused, and each change of what it goes by is another epoch', () => {
  const { judge, bundle, foreignBundles, intermediates, revocations } = openJudge();
  const first = judge.epoch();
  assert.equal(judge.epoch(), first);
  const changes: readonly (() => void)[] = [
    () => revocations.set({ ...NOTHING_REVOKED, all: [1], hasSerial: (one) => one === serial }),
    () => revocations.set({ ...NOTHING_REVOKED, all: [1], hasSpiffeId: (id) => id === ALICE }),
    () => foreignBundles.set(new Map()),
    () => intermediates.set([]),
    () => bundle.set({ ...bundle.value, x509Authorities: [] }),
  ];
  const epochs = new Set([first]);
  for (const [index, change] of changes.entries()) {
    change();
    epochs.add(judge.epoch());
    assert.equal(epochs.size, index + 2);
  }
  const { judge: other, revocations: revoked } = openJudge();
  for (const refusal of [
    { hasSerial: (one: string) => one === serial },
    { hasSpiffeId: (id: string) => id === ALICE },
  ]) {
    revoked.set({ ...NOTHING_REVOKED, all: [1], ...refusal });
    assert.deepEqual(other.judge([leaf, between]), { accepted: false, reason: 'revoked' });
  }
  revoked.set(NOTHING_REVOKED);
  assert.equal(other.judge([leaf, between]).accepted, true);
});
