import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock, SvidgateError } from '../../../src/core/index.ts';
import { egressToken, type EgressTokens } from '../../../src/gate/egress-token.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';

const CALLER = { listener: 'gate', kind: 'tls', spiffeIds: [parseSpiffeId('spiffe://example.test/one')] } as const;
const WISH = { audience: 'api.test', header: 'authorization' };

function ask(fetch: EgressTokens['fetch'], leftMs = 2000): ReturnType<typeof egressToken> {
  const egress = { audiences: new Set(['api.test']), fetch };
  const about = { caller: CALLER, hasRequest: true, deadline: systemClock.now() + leftMs };
  return egressToken(WISH, about, { egress, clock: systemClock });
}

test('a token stands in its header', async () => {
  const asked: unknown[] = [];
  const found = await ask((caller, token) => {
    asked.push(caller, token);
    return Promise.resolve('abc');
  });
  assert.deepEqual(found, { kind: 'token', header: { name: 'authorization', value: 'Bearer abc' } });
  assert.deepEqual(asked, [CALLER, { audience: 'api.test', spiffeId: 'spiffe://example.test/one' }]);
});

const failures: readonly (readonly [name: string, fetch: EgressTokens['fetch'], code: string])[] = [
  ['no entry gives it', () => Promise.reject(new SvidgateError('no_identity', 'secret words')), 'no_identity'],
  ['the key is away', () => Promise.reject(new Error('secret words')), 'internal'],
  ['it never comes', () => new Promise(() => undefined), 'deadline_exceeded'],
  [
    'it throws',
    () => {
      throw new Error('secret words');
    },
    'internal',
  ],
];
for (const [name, fetch, code] of failures) {
  test(`${name}: a deny within the deadline, whose words say what kind of fault it was`, async () => {
    const deadline = systemClock.now() + 300;
    assert.deepEqual(await ask(fetch, 300), {
      kind: 'none',
      reason: 'egress_unavailable',
      detail: `no JWT-SVID could be had (${code})`,
    });
    assert.ok(systemClock.now() < deadline);
  });
}

test('without the section in the configuration there is none', async () => {
  const about = { caller: CALLER, hasRequest: true, deadline: systemClock.now() + 1000 };
  const found = await egressToken(WISH, about, { clock: systemClock });
  assert.equal(found.kind === 'none' && found.reason, 'egress_refused');
});
