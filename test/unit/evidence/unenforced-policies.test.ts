import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noMetrics, silentLogger, type LogFields } from '../../../src/core/index.ts';
import { UnenforcedPolicies } from '../../../src/evidence/unenforced-policies.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';
import { waitUntil } from '../../support/wait-until.ts';

const HOUR_MS = 3_600_000;

function stage(hours: number, clock: TestClock = createTestClock()) {
  const lines: (LogFields & { readonly message: string })[] = [];
  const gauges = new Map<string, number>();
  const until = clock.now() + hours * HOUR_MS;
  const policies = new UnenforcedPolicies({
    until: new Map([['billing', until]]),
    clock,
    logger: { ...silentLogger, warn: (fields, message) => void lines.push({ ...fields, message }) },
    metrics: { ...noMetrics, gauge: (_name, labels, value) => void gauges.set(Object.values(labels).join(), value) },
  });
  return { policies, clock, until, lines, gauges };
}

test('a policy decides from its time on, to the millisecond', () => {
  const { policies, clock, until, lines, gauges } = stage(24);
  policies.announce();
  assert.deepEqual(lines, [
    {
      policy: 'billing',
      expires_at: '2026-01-02T00:00:00.000Z',
      message: 'policy not enforced: what it denies is let through',
    },
  ]);
  assert.equal(gauges.get('billing'), until / 1000);
  assert.deepEqual([...policies.all], [['billing', until]]);
  assert.equal(policies.has('default'), false);
  clock.set(until - 1);
  assert.equal(policies.has('billing'), true);
  clock.set(until);
  assert.equal(policies.has('billing'), false);
  assert.equal(lines.at(-1)?.message, 'policy enforced: its time without has ended');
  assert.equal(gauges.get('billing'), 0);
  assert.deepEqual([...policies.all], []);
  assert.equal(lines.length, 2);
});

test('once it decides it decides for good, whatever the clock says then', () => {
  const { policies, clock, until } = stage(1);
  clock.set(until + 1);
  assert.equal(policies.has('billing'), false);
  clock.set(until - HOUR_MS);
  assert.equal(policies.has('billing'), false);
});

test('a clock that tells no time enforces', () => {
  const { policies, clock } = stage(1);
  clock.set(Number.NaN);
  assert.equal(policies.has('billing'), false);
});

test('a clock that stands still or is set back buys no time', async () => {
  const clock = createTestClock();
  const { policies } = stage(1500 / HOUR_MS, clock);
  assert.equal(policies.has('billing'), true);
  clock.set(clock.now() - 1000 * HOUR_MS);
  assert.equal(policies.has('billing'), true);
  await waitUntil('its time to pass', 10_000, () => !policies.has('billing'));
});

test('a time that has passed is told once, and enforces from the start; a far one draws a further warning', () => {
  const past = stage(-1);
  past.policies.announce();
  assert.deepEqual(
    past.lines.map(({ message }) => message),
    ['policy enforced: its time without has ended'],
  );
  assert.equal(past.policies.has('billing'), false);
  const far = stage(24 * 91);
  far.policies.announce();
  assert.equal(far.lines.at(-1)?.message, 'policy not enforced for more than 90 days');
});
