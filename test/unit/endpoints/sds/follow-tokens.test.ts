import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noAudit, silentLogger, Watchable } from '../../../../src/core/index.ts';
import { UNKNOWN_NODE } from '../../../../src/discovery/index.ts';
import { createIdentitySource, type CallerIdentity } from '../../../../src/identity/index.ts';
import {
  parseJwtSvid,
  parseSelector,
  parseSpiffeId,
  parseSpiffeIdPattern,
  type RegistrationEntry,
} from '../../../../src/spiffe/index.ts';
import { followStage, readySecret, secretIn, textOf } from '../../../support/follow-secrets-stage.ts';
import { createTestClock } from '../../../support/test-clock.ts';
import { createTestTrustDomain } from '../../../support/test-trust-domain.ts';

const SELECTORS = [parseSelector('unix:uid:1')];
const A = 'spiffe://example.test/a';
const B = 'spiffe://example.test/b';
const OTHER = 'spiffe://example.test/other';
const RULES = [
  { allow: [parseSpiffeIdPattern(A), parseSpiffeIdPattern(OTHER)], audiences: ['api', 'with space', 'c'] },
  { allow: [parseSpiffeIdPattern('spiffe://example.test/**')], audiences: ['every'] },
];

const entry = (spiffeId: string): RegistrationEntry => ({
  entryId: spiffeId,
  spiffeId: parseSpiffeId(spiffeId),
  selectors: SELECTORS,
});

/** A caller with entries, and a stream of it on a real identity source. */
async function tokenStage(...ids: readonly string[]) {
  const clock = createTestClock();
  const domain = await createTestTrustDomain('example.test', { clock });
  const snapshot = (of: readonly string[]) => ({ match: () => of.map(entry), concerns: () => true });
  const entries = new Watchable(snapshot(ids));
  const issued: string[] = [];
  const source = createIdentitySource({
    issuer: {
      issueX509Svid: (request) => domain.issueX509Svid(request),
      issueJwtSvid(request) {
        issued.push(request.spiffeId);
        return domain.issueJwtSvid(request);
      },
    },
    bundle: domain.bundle,
    entries,
    audit: noAudit,
    clock,
    logger: silentLogger,
    random: () => 0,
  });
  const stage = await followStage({
    settings: { jwtSvids: RULES },
    followJwtSvid: (...asked) => source.followJwtSvid(...asked),
  });
  const stream = stage.open();
  const held = async (of: readonly string[]): Promise<CallerIdentity> => ({
    svids: await Promise.all(
      of.map(async (one) => ({
        entryId: one,
        svid: await domain.issueX509Svid({ spiffeId: parseSpiffeId(one), entryId: one }),
      })),
    ),
    pending: [],
    bundle: domain.bundle.value,
    foreignBundles: [],
  });
  const identity = await held(ids);
  return {
    stage,
    stream,
    clock,
    issued,
    held,
    identity,
    setEntries: (...of: readonly string[]) => entries.set(snapshot(of)),
    look: (name: string, as = identity) => stream.view(as, UNKNOWN_NODE).lookup(name, false),
    [Symbol.dispose]: () => stream[Symbol.dispose](),
  };
}

const allowed = [
  { name: `jwt:${A}?aud=api`, sub: A, aud: ['api'], prefix: '' },
  { name: 'jwt:default?aud=api', sub: A, aud: ['api'], prefix: '' },
  { name: `jwt:${B}?aud=every`, sub: B, aud: ['every'], prefix: '' },
  { name: `jwt:${A}?aud=with%20space&aud=api&prefix=Bearer%20`, sub: A, aud: ['api', 'with space'], prefix: 'Bearer ' },
];

for (const { name, sub, aud, prefix } of allowed) {
  test(`${name} is a token as a generic secret, once it is issued`, async () => {
    using at = await tokenStage(A, B);
    at.stream.ask(new Set([name]));
    assert.deepEqual(at.look(name), { kind: 'pending' });
    await at.clock.advance(0);
    assert.equal(at.stage.changes, 1);
    const state = at.look(name);
    const text = textOf(secretIn(state).genericSecret?.secret);
    assert.ok(text.startsWith(prefix));
    const token = parseJwtSvid(text.slice(prefix.length));
    assert.deepEqual([token.spiffeId, token.audience], [sub, aud]);
    assert.deepEqual(readySecret(state).facts, { kind: 'jwt_svid', spiffeId: sub, expiresAt: token.expiresAt });
    assert.equal(readySecret(at.look(name)), readySecret(state));
  });
}

test('one token stands for all the ways to name its audiences, which a caller makes up', async () => {
  using at = await tokenStage(A, B);
  const names = Array.from({ length: 50 }, (_, index) => [
    `jwt:${A}?${'aud=api&'.repeat(index)}aud=c`,
    `jwt:default?aud=c&aud=api&prefix=${index}`,
  ]).flat();
  at.stream.ask(new Set(names));
  for (const name of names) at.look(name);
  await at.clock.advance(0);
  assert.equal(at.issued.length, 2, 'for c, and for api and c');
});

const refused = [
  ['another audience', `jwt:${A}?aud=secret`],
  ['one audience too many', `jwt:${A}?aud=api&aud=secret`],
  ['audiences of two rules', `jwt:${A}?aud=api&aud=every`],
  ['a rule for another', `jwt:${B}?aud=api`],
  ['an identity that the caller does not hold', `jwt:${OTHER}?aud=api`],
] as const;

for (const [why, name] of refused) {
  test(`no token is issued for ${why}: ${name}`, async () => {
    using at = await tokenStage(A, B);
    at.stream.ask(new Set([name]));
    assert.deepEqual(at.look(name), { kind: 'unknown' });
    await at.clock.advance(0);
    assert.deepEqual(at.look(name), { kind: 'unknown' });
    assert.deepEqual(at.stream.view(at.identity, UNKNOWN_NODE).lookup(name, true), { kind: 'unknown' });
    assert.deepEqual([at.issued, at.clock.sleeping], [[], 0]);
  });
}

test('a token is replaced at half of its life, and gone with its entry', async () => {
  using at = await tokenStage(A);
  const name = `jwt:${A}?aud=api`;
  at.stream.ask(new Set([name]));
  at.look(name);
  await at.clock.advance(0);
  const first = readySecret(at.look(name));
  await at.clock.advance(151_000);
  const second = readySecret(at.look(name));
  assert.notEqual(second.version, first.version);
  const changes = at.stage.changes;
  at.setEntries();
  assert.ok(at.stage.changes > changes);
  assert.deepEqual(at.look(name), { kind: 'unknown' });
});

test('the default token is never of an identity that the rules do not name', async () => {
  using at = await tokenStage(A);
  const name = 'jwt:default?aud=api';
  at.stream.ask(new Set([name]));
  at.look(name);
  await at.clock.advance(0);
  assert.equal(readySecret(at.look(name)).facts.spiffeId, A);
  at.setEntries(B, A);
  const other = await at.held([B, A]);
  assert.deepEqual(at.look(name, other), { kind: 'unknown' });
  await at.clock.advance(0);
  assert.deepEqual([...new Set(at.issued)], [A]);
  const waiting = { ...(await at.held([A])), pending: [{ spiffeId: parseSpiffeId(B), isDefault: true }] };
  assert.deepEqual(at.look(name, waiting), { kind: 'unknown' });
  at.setEntries(OTHER, A);
  const third = await at.held([OTHER, A]);
  assert.deepEqual(at.look(name, third), { kind: 'pending' });
  await at.clock.advance(0);
  assert.equal(readySecret(at.look(name, third)).facts.spiffeId, OTHER);
});

test('what is not asked for any more is not kept fresh, and tokens are no part of the answer to no name', async () => {
  using at = await tokenStage(A);
  const name = `jwt:${A}?aud=api`;
  at.stream.ask(new Set([name, 'default']));
  at.look(name);
  await at.clock.advance(0);
  assert.equal(at.clock.sleeping, 1);
  at.stream.ask(new Set([name]));
  assert.equal(at.look(name).kind, 'ready');
  assert.deepEqual(
    at.stream
      .view(at.identity, UNKNOWN_NODE)
      .all()
      .map((secret) => secret.name),
    ['spiffe://example.test', A],
  );
  at.stream.ask(new Set());
  await at.clock.advance(0);
  assert.equal(at.clock.sleeping, 0);
  assert.deepEqual(at.look(name), { kind: 'unknown' });
});

test('nothing of a token is in an error', async () => {
  using at = await tokenStage(A);
  const name = `jwt:${A}?aud=api`;
  at.stream.ask(new Set([name, 'ALL']));
  at.look(name);
  await at.clock.advance(0);
  const token = textOf(secretIn(at.look(name)).genericSecret?.secret);
  const plain = { ...UNKNOWN_NODE, disableSpiffeCertValidation: true };
  assert.throws(
    () => at.stream.view(at.identity, plain).lookup('ALL', false),
    (error) => error instanceof Error && !JSON.stringify([error.message, error.stack]).includes(token),
  );
});
