import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger, type LogFields, type Logger, type Metrics } from '../../../../src/core/index.ts';
import { PolicyRecord } from '../../../../src/policy/activation/policy-record.ts';
import type { PolicyEvent } from '../../../../src/policy/index.ts';
import { createTestClock } from '../../../support/test-clock.ts';

function eventOf(number: number, kind: PolicyEvent['kind'] = 'activated'): PolicyEvent {
  const digest = `d${number}`;
  return { policy: 'p', kind, at: number, source: './policy', entrypoint: 'a/b', by: 'source', digest };
}

/** A history whose disk is full while `isFull` is set. */
function createStage() {
  const written: PolicyEvent[] = [];
  const lines: string[] = [];
  const counts: string[] = [];
  const clock = createTestClock();
  const disk = { isFull: false };
  const attempt = (): void => {
    if (disk.isFull) throw new Error('no room');
  };
  const logger: Logger = {
    ...silentLogger,
    info: (_fields: LogFields, message) => void lines.push(message),
    warn: (_fields: LogFields, message) => void lines.push(message),
  };
  const metrics: Metrics = {
    count: (name) => void counts.push(name),
    gauge: () => undefined,
    observe: () => undefined,
  };
  const history = {
    list: async (policy: string) => {
      await Promise.resolve();
      attempt();
      return written.filter((event) => event.policy === policy);
    },
    append: async (event: PolicyEvent) => {
      await Promise.resolve();
      attempt();
      written.push(event);
    },
  };
  const open = async (): Promise<PolicyRecord> => {
    const record = new PolicyRecord({ policy: 'p', history, clock, logger, metrics });
    await record.open();
    return record;
  };
  return { written, lines, counts, clock, disk, open };
}

const numbers = (events: readonly PolicyEvent[]): readonly number[] => events.map(({ at }) => at);

test('what was written is there again, and the last that was no refusal says what is in force', async () => {
  const { open } = createStage();
  const record = await open();
  await record.note(eventOf(1));
  await record.append(eventOf(2, 'rolled_back'));
  await record.note(eventOf(3, 'refused'));
  await record.close();
  const again = await open();
  assert.deepEqual(numbers(again.events), [1, 2, 3]);
  assert.equal(again.last?.digest, 'd2');
});

test('on a full disk what happens all the same is written later, in order, and told once', async () => {
  const { open, disk, written, lines, counts, clock } = createStage();
  const record = await open();
  disk.isFull = true;
  for (const number of [1, 2, 3]) await record.note(eventOf(number));
  assert.deepEqual(numbers(record.events), [1, 2, 3]);
  assert.deepEqual(lines, ['policy history not written, trying again']);
  assert.deepEqual(counts, ['svidgate_policy_history_failures_total']);
  await assert.rejects(record.append(eventOf(4)), { message: 'no room' });
  assert.deepEqual(numbers(record.events), [1, 2, 3], 'what needs to be written has not happened');
  disk.isFull = false;
  await clock.advance(60_000);
  assert.equal(written.length, 3);
  await record.append(eventOf(5));
  assert.deepEqual(numbers(written), [1, 2, 3, 5]);
  assert.deepEqual(lines.at(-1), 'policy history is written again');
  await record.close();
});

test('what waits is written before what must be, and at the end', async () => {
  const { open, disk, written } = createStage();
  const record = await open();
  disk.isFull = true;
  await record.note(eventOf(1));
  disk.isFull = false;
  await record.append(eventOf(2));
  assert.deepEqual(numbers(written), [1, 2]);
  disk.isFull = true;
  await record.note(eventOf(3));
  disk.isFull = false;
  await record.close();
  assert.deepEqual(numbers(written), [1, 2, 3]);
});

test('a history that cannot be read is an empty one', async () => {
  const { open, disk, lines } = createStage();
  disk.isFull = true;
  const record = await open();
  assert.deepEqual(record.events, []);
  assert.deepEqual(lines, ['policy history not read']);
  await record.close();
});
