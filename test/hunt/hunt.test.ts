/** A short hunt, and gates that are wrong on purpose: the hunt has to find each. `npm run prove` has the long one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExtAuthzOptions } from '../../src/endpoints/ext-authz/index.ts';
import type { RequestIdentity } from '../../src/peer/index.ts';
import type { Decision } from '../../src/policy/index.ts';
import { isSpiffeId } from '../../src/spiffe/index.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { MENDED, watchThreads } from './events.ts';
import { PLAIN_CASE, type Case } from './case.ts';
import { askAgain, hunt, type Failure } from './hunt.ts';
import { createWorld, type Spoil, type World } from './world.ts';
import { readReply } from './reply.ts';
import { huntOverSockets, report } from './run-hunt.ts';
import { encodeCase } from './wire.ts';

const SEED = 20_261_122;
const CHECKS = 5000;

type Decide = ExtAuthzOptions['policies']['decide'];
type Verify = ExtAuthzOptions['requests']['verify'];

const decideOtherwise =
  (change: (decision: Decision) => Decision) =>
  (options: ExtAuthzOptions): ExtAuthzOptions => ({
    ...options,
    policies: { decide: async (...args: Parameters<Decide>) => change(await options.policies.decide(...args)) },
  });

const verifyOtherwise =
  (change: (identity: RequestIdentity, request: Parameters<Verify>[0]) => RequestIdentity) =>
  (options: ExtAuthzOptions): ExtAuthzOptions => ({
    ...options,
    requests: {
      verify: async (request, limitMs) => change(await options.requests.verify(request, limitMs), request),
    },
  });

const allowed = ({ policy }: Decision): Decision => ({ effect: 'allow', policy, digest: '' });

/** Whoever is presented, with nothing checked. */
const believed = (identity: RequestIdentity, principal: string): RequestIdentity =>
  isSpiffeId(principal) ? { ...identity, peer: { verified: true, spiffeId: principal, serial: '1' } } : identity;

const withoutRevocation = ({ peer, xfcc, tokens }: RequestIdentity): RequestIdentity => ({ peer, xfcc, tokens });

/** Field 1 of the reply, and the code in it: `08 07` is a deny. */
const withoutStatus = (reply: Uint8Array): Uint8Array => reply.subarray(2 + (reply[1] ?? 0));

const GET_OPEN = Buffer.from('0a10220e120c120347455422052f6f70656e', 'hex');

const wrong: readonly (readonly [name: string, spoil: Spoil, what: string, events?: readonly string[]])[] = [
  [
    'what is undefined is an allow',
    {
      options: decideOtherwise((one) =>
        one.effect === 'deny' && one.reason === 'undefined_decision' ? allowed(one) : one,
      ),
    },
    'false_allow',
  ],
  [
    'a conflict is an allow',
    {
      options: decideOtherwise((one) =>
        one.effect === 'deny' && one.reason === 'evaluation_error' ? allowed(one) : one,
      ),
    },
    'false_allow',
  ],
  [
    'a policy that is not in force allows',
    { options: decideOtherwise((one) => (one.effect === 'deny' && one.reason === 'not_active' ? allowed(one) : one)) },
    'false_allow',
  ],
  [
    'revocation is skipped',
    { options: verifyOtherwise(withoutRevocation) },
    'false_allow',
    ['somebody is revoked', 'a serial is revoked'],
  ],
  [
    'an unverified peer is believed',
    { options: verifyOtherwise((identity, { principal }) => believed(identity, principal)) },
    'false_allow',
  ],
  [
    'an unverified token is believed',
    {
      options: verifyOtherwise((identity) => ({
        ...identity,
        tokens: identity.tokens.map(({ header }) => {
          return {
            verified: true,
            header,
            provider: 'issuer',
            claims: { role: 'admin' },
            claimsText: '{"role":"admin"}',
          };
        }),
      })),
    },
    'false_allow',
  ],
  [
    'entries of callers are not asked for',
    {
      options: (options) => ({
        ...options,
        entries: { match: () => [{ spiffeId: 'spiffe://example.test/sidecar' } as never] },
      }),
    },
    'false_allow',
    ['the caller has no entry'],
  ],
  [
    'entries of peers are not asked for',
    { options: (options) => ({ ...options, isRegistered: () => true }) },
    'false_allow',
    ['a peer has no entry'],
  ],
  [
    'a message that cannot be read is taken for a harmless one',
    {
      method: (method) => ({
        ...method,
        handle: async (bytes, call) => {
          const reply = await method.handle(bytes, call);
          return readReply(reply).reason === 'invalid_request' ? await method.handle(GET_OPEN, call) : reply;
        },
      }),
    },
    'false_allow',
  ],
  [
    'a reply without a status',
    {
      method: (method) => ({ ...method, handle: async (...args) => withoutStatus(await method.handle(...args)) }),
    },
    'false_allow',
  ],
  ['on_error: grpc', { options: (options) => ({ ...options, onError: 'grpc' }) }, 'not_explicit'],
  [
    'no answer but after the deadline',
    {
      method: (method) => ({
        ...method,
        handle: async (bytes, call) => {
          const reply = await method.handle(bytes, call);
          const left = (call.deadline ?? 0) - Date.now();
          if (left > 1000 && left < 2000 && Math.random() < 0.02)
            await new Promise((resolve) => setTimeout(resolve, left + 1500));
          return reply;
        },
      }),
    },
    'late',
  ],
  [
    'everybody is denied',
    { options: decideOtherwise((one) => ({ effect: 'deny', reason: 'policy_denied', policy: one.policy })) },
    'wrong_deny',
  ],
];

test('the hunt for an allow that no policy gives', async (t) => {
  await using folder = await tempFolder();
  using threads = watchThreads();
  await using world = await createWorld(folder.path);
  const options = { seed: SEED, checks: CHECKS, eventEvery: 60 };

  for (const [name, spoil, what, events] of wrong) {
    await t.test(`finds: ${name}`, async () => {
      const own = { ...options, events, maxFailures: 1, shutsDown: false };
      const { failures } = await hunt(world.spoiled(spoil), threads, own);
      // Those that were under way at the first one may have failed, too.
      assert.deepEqual(new Set(failures.map((failure) => failure.what)), new Set([what]));
    });
  }

  await t.test('finds nothing over real sockets', async () => {
    await world.change(MENDED);
    const { failures } = await huntOverSockets(world, threads, { ...options, seed: SEED + 1, checks: CHECKS / 10 });
    assert.equal(failures.length, 0, failures.length === 0 ? '' : await report(failures, options));
  });

  await t.test('finds nothing where a bit of a certificate is another one', async () => {
    await world.change(MENDED);
    const [failures, verdicts]: [Failure[], Set<string>] = [[], new Set()];
    for (const drawn of flippedCases(world)) {
      const failure = await askAgain(drawn, world);
      if (failure !== undefined) failures.push(failure);
      const reply = await world.ask(encodeCase(drawn, world.cast), drawn);
      if (reply.kind !== 'grpc_error') verdicts.add(readReply(reply.bytes).kind);
    }
    assert.equal(failures.length, 0, failures.length === 0 ? '' : await report(failures, options));
    // Some are somebody who is denied, the others nobody.
    assert.deepEqual(verdicts, new Set(['allow', 'deny']));
  });

  await t.test('finds nothing where those who are revoked show what cannot be read', async () => {
    await world.change({ ...MENDED, revokedIds: ['spiffe://example.test/alice'] });
    const failures: Failure[] = [];
    for (const certificate of world.cast.people.credentials.keys()) {
      for (const principal of ['none', 'match', 'spiffe://example.test/bob']) {
        const failure = await askAgain({ ...OPEN_TO_ALL, certificate, principal }, world);
        if (failure !== undefined) failures.push(failure);
      }
    }
    assert.equal(failures.length, 0, failures.length === 0 ? '' : await report(failures, options));
  });

  await t.test('finds nothing in thousands of checks while faults come, and as the gate is shut down', async () => {
    await world.change(MENDED);
    const { checks, allows, denies, failures } = await hunt(world, threads, { ...options, seed: SEED + 2 });
    assert.equal(failures.length, 0, failures.length === 0 ? '' : await report(failures, options));
    assert.ok(checks >= CHECKS);
    // Or else nothing was tried: many are allowed, and some are denied for each kind of reason.
    assert.ok(allows > CHECKS / 5, `${allows} allowed`);
    for (const reason of ['policy_denied', 'undefined_decision', 'invalid_request', 'wrong_type', 'not_active']) {
      assert.ok((denies.get(reason) ?? 0) > 0, `none was denied for ${reason}`);
    }
  });
});

/** Whoever asks. */
const OPEN_TO_ALL: Case = {
  ...PLAIN_CASE,
  extensions: [['svidgate.policy', 'faulty']],
  headers: [['x-open', 'sesame']],
};

/** Of a rule that denies one peer alone: who she is must not be lost in line ends and labels that are not quite right. */
function flippedCases({ cast }: Pick<World, 'cast'>): readonly Case[] {
  const drawn: Case = {
    ...PLAIN_CASE,
    extensions: [
      ['svidgate.policy', 'rules'],
      ['rule', 'negation'],
    ],
    path: '/a',
    headers: [['x-way', 'equal']],
    certificate: 'mallory',
  };
  const text = cast.people.credentials.get('mallory')?.text ?? '';
  const begin = encodeCase(drawn, cast).indexOf(text);
  const [first, last] = [text.indexOf('%0A'), text.lastIndexOf('%0A', text.lastIndexOf('%0A') - 1)];
  const places = [0, 1, 2].flatMap((at) => [first + at, last + at]);
  const labels = [text.indexOf('BEGIN'), text.indexOf('CERTIFICATE'), text.indexOf('END'), first - 1];
  return [...places, ...labels].flatMap((place) =>
    Array.from({ length: 8 }, (_, bit): Case => ({
      ...drawn,
      wire: { kind: 'mutated', edits: [{ edit: 'flip', at: begin + place, bit }] },
    })),
  );
}
