import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { UNKNOWN_NODE } from '../../../../src/discovery/index.ts';
import type { SecretContent } from '../../../../src/secrets/index.ts';
import { parseSpiffeId, parseSpiffeIdPattern } from '../../../../src/spiffe/index.ts';
import {
  followStage,
  identityOf,
  matchersIn,
  readySecret,
  secretIn,
  textOf,
  viewOf,
  type FollowStage,
} from '../../../support/follow-secrets-stage.ts';
import { createTestTrustDomain } from '../../../support/test-trust-domain.ts';

const ID = parseSpiffeId('spiffe://example.test/gateway');
const OTHER = 'spiffe://example.test/other';
const domain = await createTestTrustDomain('example.test');
const bundle = domain.bundle.value;
const svid = await domain.issueX509Svid({ spiffeId: ID, entryId: 'a' });
const gateway = identityOf(bundle, [{ svid, entryId: 'a' }]);
const pendingGateway = { ...identityOf(bundle, []), pending: [{ spiffeId: ID, isDefault: true }] };

const CA: SecretContent = { kind: 'validation_context', ca: 'PEM of a CA\n' };
const KEYS = [randomBytes(80), randomBytes(80)];
const CERTIFICATE: SecretContent = {
  kind: 'tls_certificate',
  certificateChain: 'PEM of a chain\n',
  privateKey: 'PEM of a key\n',
  serial: 'ab12',
  notAfter: 1_900_000_000_000,
};

test('each kind of content becomes the secret that Envoy takes, with its facts', async () => {
  const stage = await followStage();
  const look = (name: string, content: SecretContent) => {
    stage.store.set(name, [ID], content);
    const state = viewOf(stage, gateway, { names: [name] }).lookup(name, false);
    return { secret: secretIn(state), facts: readySecret(state).facts };
  };
  const generic = look('token', { kind: 'generic', bytes: Buffer.from([0, 255, 10]) });
  assert.deepEqual([...(generic.secret.genericSecret?.secret?.inlineBytes ?? [])], [0, 255, 10]);
  assert.deepEqual(generic.facts, { kind: 'generic' });
  const certificate = look('file-cert:/c~/k', CERTIFICATE);
  assert.equal(textOf(certificate.secret.tlsCertificate?.certificateChain), 'PEM of a chain\n');
  assert.equal(textOf(certificate.secret.tlsCertificate?.privateKey), 'PEM of a key\n');
  assert.deepEqual(certificate.facts, { kind: 'tls_certificate', serial: 'ab12', expiresAt: 1_900_000_000_000 });
  const context = look('file-root:/ca', CA);
  assert.equal(textOf(context.secret.validationContext?.trustedCa), 'PEM of a CA\n');
  assert.deepEqual(context.facts, { kind: 'validation_context' });
  const tickets = look('tickets', { kind: 'session_tickets', keys: KEYS });
  assert.deepEqual(
    tickets.secret.sessionTicketKeys?.keys.map(({ inlineBytes }) => Buffer.from(inlineBytes ?? [])),
    KEYS,
  );
  assert.deepEqual(tickets.facts, { kind: 'session_tickets' });
  assert.equal(tickets.secret.name, 'tickets');
});

test('the version of a generic secret says nothing of it to who has not got it, the same on all streams', async () => {
  const [stage, later] = await Promise.all([followStage(), followStage()]);
  const versionIn = (of: FollowStage, name: string): string =>
    readySecret(viewOf(of, gateway, { names: [name] }).lookup(name, false)).version;
  for (const one of [stage, later]) {
    one.store.set('pin', [ID], { kind: 'generic', bytes: Buffer.from('1234') });
    one.store.set('ca', [ID], CA);
  }
  assert.equal(versionIn(stage, 'pin'), versionIn(stage, 'pin'));
  assert.notEqual(versionIn(stage, 'pin'), versionIn(later, 'pin'));
  assert.equal(versionIn(stage, 'ca'), versionIn(later, 'ca'), 'what nobody guesses is not sent anew after a restart');
});

test('who is not on the list sees no difference from a name that does not exist', async () => {
  const stage = await followStage();
  for (const content of [undefined, { kind: 'generic', bytes: KEYS[0] ?? Buffer.of() } as const, CERTIFICATE]) {
    stage.store.set('token', [OTHER], content);
    const view = viewOf(stage, gateway, { names: ['token', 'none'] });
    for (const isHeld of [false, true]) {
      assert.deepEqual(view.lookup('token', isHeld), view.lookup('none', isHeld));
      assert.deepEqual(view.lookup('token', isHeld), { kind: 'unknown' });
    }
    assert.deepEqual(view.lookup('token?peers=x', false), { kind: 'unknown' });
  }
  stage.store.set('ca', [OTHER], CA);
  const claiming = viewOf(stage, gateway, { names: ['ca', 'none'] });
  assert.deepEqual(claiming.lookup('ca', true), claiming.lookup('none', true), 'also for who says that it holds it');
  for (const name of ['ca', 'file-root:/ca', 'ca?peers=x']) {
    const view = viewOf(stage, gateway, { names: [name] });
    assert.deepEqual(view.lookup(name, false), { kind: 'unknown' });
    assert.deepEqual(viewOf(stage, identityOf(bundle, []), { names: [name] }).lookup(name, true), { kind: 'unknown' });
  }
});

test('a caller whose SVID is to come has its secrets already, and waits for those that are not there', async () => {
  const stage = await followStage();
  stage.store.set('ca', [ID], CA);
  stage.store.set('later', [ID]);
  const view = viewOf(stage, pendingGateway, { names: ['ca', 'later'] });
  assert.equal(view.lookup('ca', false).kind, 'ready');
  assert.deepEqual(view.lookup('later', false), { kind: 'pending' });
});

test('who may have a secret is asked at each look', async () => {
  const stage = await followStage();
  stage.store.set('ca', [ID], CA);
  using followed = stage.open();
  followed.ask(new Set(['ca']));
  const other = { ...gateway, svids: [{ svid: { ...svid, spiffeId: parseSpiffeId(OTHER) }, entryId: 'b' }] };
  assert.equal(followed.view(gateway, UNKNOWN_NODE).lookup('ca', true).kind, 'ready');
  assert.deepEqual(followed.view(other, UNKNOWN_NODE).lookup('ca', false), { kind: 'unknown' });
  const closed = followed.view(other, UNKNOWN_NODE).lookup('ca', true);
  assert.deepEqual(matchersIn(closed), ['exact no peer at all']);
  assert.notEqual(textOf(secretIn(closed).validationContext?.trustedCa), CA.ca);
});

for (const name of ['file-root:/ca', 'file-root:/ca?peers=x', 'ca?peers=x']) {
  test(`${name} is closed for an Envoy that holds it, whether it exists or not`, async () => {
    const [without, withIt] = await Promise.all([followStage(), followStage()]);
    withIt.store.set(name.replace('?peers=x', ''), [OTHER], CERTIFICATE);
    for (const stage of [without, withIt]) {
      const state = viewOf(stage, gateway, { names: [name] }).lookup(name, true);
      assert.deepEqual(matchersIn(state), ['exact no peer at all']);
      assert.equal(secretIn(state).validationContext?.customValidatorConfig, null);
      assert.deepEqual(readySecret(state).facts, { kind: 'validation_context' });
    }
  });
}

test('a list of peers narrows a validation context, and nothing else has one', async () => {
  const stage = await followStage();
  stage.store.set('ca', [ID], CA);
  stage.store.set('token', [ID], { kind: 'generic', bytes: Buffer.of(1) });
  stage.peers.set(
    new Map([
      ['web', { kind: 'known', peers: [parseSpiffeIdPattern('spiffe://partner.test/**')] } as const],
      ['later', { kind: 'pending' } as const],
    ]),
  );
  const names = ['ca?peers=web', 'ca?peers=none', 'ca?peers=later', 'token?peers=web'];
  const view = viewOf(stage, gateway, { names });
  assert.deepEqual(matchersIn(view.lookup('ca?peers=web', false)), ['prefix spiffe://partner.test/']);
  assert.equal(textOf(secretIn(view.lookup('ca?peers=web', false)).validationContext?.trustedCa), CA.ca);
  assert.deepEqual(matchersIn(view.lookup('ca?peers=none', false)), ['exact no peer at all']);
  assert.deepEqual(view.lookup('ca?peers=later', false), { kind: 'pending' });
  assert.deepEqual(view.lookup('token?peers=web', false), { kind: 'unknown' });
});

test('asking is a difference: what is still asked for keeps its follower, the rest is let go', async () => {
  const stage = await followStage();
  stage.store.set('one', [ID], { kind: 'generic', bytes: Buffer.of(1) });
  stage.store.set('two', [ID]);
  let followed = 0;
  const { follow } = stage.store;
  stage.store.follow = (name, onChange) => {
    followed += 1;
    return follow(name, onChange);
  };
  const followers = (): readonly number[] => [stage.store.followers('one'), stage.store.followers('two')];
  const stream = stage.open();
  stream.ask(new Set(['one']));
  stream.ask(new Set(['one', 'two']));
  assert.deepEqual([followed, ...followers()], [2, 1, 1]);
  stage.store.set('two', [ID], { kind: 'generic', bytes: Buffer.of(2) });
  assert.equal(stage.changes, 1);
  assert.equal(stream.view(gateway, UNKNOWN_NODE).lookup('two', false).kind, 'ready');
  stream.ask(new Set(['two']));
  assert.deepEqual([followed, ...followers()], [2, 0, 1]);
  stage.store.set('one', [ID], { kind: 'generic', bytes: Buffer.of(3) });
  assert.equal(stage.changes, 1);
  stream[Symbol.dispose]();
  stream.ask(new Set(['one', 'two']));
  assert.deepEqual([followed, ...followers()], [2, 0, 0]);
});

test('all streams share what was made of one content, and a new one is seen', async () => {
  const stage = await followStage();
  stage.store.set('token', [ID], { kind: 'generic', bytes: Buffer.of(1) });
  const look = () => readySecret(viewOf(stage, gateway, { names: ['token'] }).lookup('token', false));
  const first = look();
  assert.equal(look(), first);
  stage.store.set('token', [ID], { kind: 'generic', bytes: Buffer.of(2) });
  assert.notEqual(look().version, first.version);
});

test('neither secrets nor what was asked for are part of the answer to no name', async () => {
  const stage = await followStage();
  stage.store.set('token', [ID], { kind: 'generic', bytes: Buffer.of(1) });
  assert.deepEqual(
    viewOf(stage, gateway, { names: ['token'] })
      .all()
      .map(({ name }) => name),
    ['spiffe://example.test', ID],
  );
});
