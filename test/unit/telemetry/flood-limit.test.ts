import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuditEvent } from '../../../src/core/index.ts';
import { limitFloods } from '../../../src/telemetry/index.ts';
import { createTestClock } from '../../support/test-clock.ts';

const refusal = (uid: number): AuditEvent => ({
  event: 'call_refused',
  method: 'FetchX509SVID',
  caller: { uid },
  result: 'failure',
});

test('a user that is refused without end takes 600 lines a minute and one that counts the rest; others keep theirs', async () => {
  const lines: AuditEvent[] = [];
  const clock = createTestClock();
  const audit = limitFloods({ record: (event) => void lines.push(event) }, clock);
  const of = (uid: number): number => lines.filter(({ caller }) => caller?.uid === uid).length;
  for (let count = 0; count < 5000; count += 1) audit.record(refusal(1));
  audit.record(refusal(2));
  assert.deepEqual([of(1), of(2)], [600, 1]);
  await clock.advance(60_000);
  audit.record(refusal(1));
  assert.equal(of(1), 602);
  assert.match(lines.at(-2)?.failure_reason ?? '', /: 4400 more lines about this user were left out$/);
});

test('what was issued or changed is recorded however much it is', () => {
  let count = 0;
  const audit = limitFloods({ record: () => void (count += 1) }, createTestClock());
  const issued = { event: 'svid_issued', svid_type: 'x509', rotation: false, method: 'identity' } as const;
  for (let index = 0; index < 2000; index += 1) audit.record({ ...issued, caller: { uid: 1 }, result: 'success' });
  assert.equal(count, 2000);
});

test('users without number share what is left, and nothing is held of them for good', async () => {
  const lines: AuditEvent[] = [];
  const clock = createTestClock();
  const audit = limitFloods({ record: (event) => void lines.push(event) }, clock);
  for (let uid = 0; uid < 3000; uid += 1) audit.record(refusal(uid));
  assert.equal(lines.length, 1600, 'a thousand of their own, and one allowance for all others');
  await clock.advance(60_000);
  for (let uid = 5000; uid < 5900; uid += 1) audit.record(refusal(uid));
  assert.equal(lines.filter(({ caller }) => (caller?.uid ?? 0) >= 5000).length, 900);
});

test('an audit log that is required and fails says so to the refused, too', () => {
  const audit = limitFloods(
    {
      record: () => {
        throw new Error('disk full');
      },
    },
    createTestClock(),
  );
  assert.throws(() => audit.record(refusal(1)), /disk full/);
});
