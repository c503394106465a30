import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { noMetrics, silentLogger, systemClock, type Logger, type Metrics } from '../../../../src/core/index.ts';
import {
  openDecisionRecorder,
  readRecords,
  type AnsweredCheck,
  type CheckFactsToRecord,
  type DecisionRecord,
  type DecisionRecorderOptions,
} from '../../../../src/evidence/index.ts';
import { startRecordThread } from '../../../../src/evidence/records/record-thread.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { waitUntil } from '../../../support/wait-until.ts';

const UTF8 = new TextEncoder();

function optionsFor(folder: string, more: Partial<DecisionRecorderOptions> = {}): DecisionRecorderOptions {
  return {
    folder: join(folder, 'decisions'),
    maxBytes: 64 * 2 ** 20,
    labels: {},
    shown: { headers: [], query: [], claims: [], paths: [] },
    key: new Uint8Array(32),
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
    ...more,
  };
}

function check(
  number: number,
  more: Partial<AnsweredCheck> = {},
  facts: Partial<CheckFactsToRecord> = {},
): AnsweredCheck {
  const id = number.toString(16).padStart(8, '0');
  return {
    decisionId: `${id}-0000-4000-8000-000000000000`,
    policy: 'default',
    outcome: 'allow',
    facts: () => ({
      at: 1_700_000_000_000 + number,
      durationNs: 1000,
      reason: '',
      httpStatus: 0,
      caller: 'attested',
      listener: 'gate',
      digest: 'abc',
      evaluated: {
        input: UTF8.encode(
          JSON.stringify({ attributes: { request: { http: { method: 'GET', id: String(number) } } } }),
        ),
        needs: 'all',
        value: true,
        cached: false,
        entrypoint: 'envoy/authz/allow',
      },
      ...facts,
    }),
    ...more,
  };
}

async function read(
  folder: string,
): Promise<{ records: DecisionRecord[]; losses: ReadonlyMap<string, { readonly records: number }> }> {
  const reading = readRecords(join(folder, 'decisions'));
  const records: DecisionRecord[] = [];
  for await (const record of reading) records.push(record);
  return { records, losses: reading.counts.losses };
}

describe('the recorder', () => {
  test('writes every decision in its order', async () => {
    await using temp = await tempFolder();
    const recorder = await openDecisionRecorder(optionsFor(temp.path));
    for (let number = 0; number < 1000; number += 1) {
      recorder.record(check(number));
      if (number % 100 === 0) await new Promise(setImmediate);
    }
    await recorder.close();
    const { records } = await read(temp.path);
    assert.deepEqual(
      records.map(({ req_id: id, input }) => [
        id,
        (input as { attributes: { request: { http: { id: string } } } }).attributes.request.http.id,
      ]),
      Array.from({ length: 1000 }, (_, number) => [number + 1, String(number)]),
    );
    assert.ok(records.every(({ svidgate }) => svidgate.replayable && svidgate.recorded === 'all'));
  });

  test('counts what came too fast, and never waits', async () => {
    await using temp = await tempFolder();
    const recorder = await openDecisionRecorder(optionsFor(temp.path, { maxQueued: 10 }));
    for (let number = 0; number < 50; number += 1) recorder.record(check(number));
    await recorder.close();
    const { records, losses } = await read(temp.path);
    assert.equal(records.length, 10);
    assert.equal(losses.get('queue')?.records, 40);
  });

  test('counts most of what never got to a policy, so that it pushes nothing else out', async () => {
    await using temp = await tempFolder();
    const recorder = await openDecisionRecorder(optionsFor(temp.path));
    for (let number = 0; number < 3000; number += 1) {
      recorder.record(check(number, { policy: 'x', outcome: 'failure', refused: 'anonymous' }));
    }
    recorder.record(check(3000));
    for (let number = 3001; number < 3101; number += 1) {
      recorder.record(check(number, { policy: '', outcome: 'failure', refused: 'proven' }));
      recorder.record(check(number, { policy: '', outcome: 'failure', refused: 'unknown' }));
    }
    await recorder.close();
    const { records, losses } = await read(temp.path);
    const lost = losses.get('refused')?.records ?? 0;
    assert.ok(lost > 1500 && lost <= 2000, String(lost));
    assert.equal(records.length + lost, 3201, 'every kind of caller has its own share');
    assert.equal(records.filter(({ svidgate }) => svidgate.policy === 'default').length, 1);
  });

  test('counts what is too much to hold', async () => {
    await using temp = await tempFolder();
    const recorder = await openDecisionRecorder(optionsFor(temp.path, { maxQueuedBytes: 20_000 }));
    const large = UTF8.encode(JSON.stringify({ parsed_body: 'x'.repeat(30_000) }));
    const evaluated = { input: large, needs: 'all', cached: false, entrypoint: 'a/allow' } as const;
    recorder.record(check(1, {}, { evaluated }));
    await waitUntil('it is counted', 5000, async () => (await recorder.status())?.log.lost['queue'] === 1);
    recorder.record(check(2));
    await recorder.close();
    const { records, losses } = await read(temp.path);
    assert.deepEqual([records.length, losses.get('queue')?.records], [1, 1]);
    // What was lost first was the one that told what the policy looks at.
    assert.equal(records[0]?.svidgate.recorded, 'all');
  });

  test('records what is too large for a record without it', async () => {
    await using temp = await tempFolder();
    const recorder = await openDecisionRecorder(optionsFor(temp.path));
    const about = { needs: 'all', cached: false, entrypoint: 'a/allow' } as const;
    const input = UTF8.encode(JSON.stringify({ parsed_body: 'x'.repeat(5 * 2 ** 20) }));
    recorder.record(check(1, {}, { evaluated: { ...about, input, value: true } }));
    const value = { allowed: true, body: 'x'.repeat(2 ** 21) };
    const nd = { 'rand.intn': { '["a", 2]': '1' } };
    recorder.record(check(2, {}, { evaluated: { ...about, input: UTF8.encode('{"version":{}}'), value, nd } }));
    await recorder.close();
    const [first, second] = (await read(temp.path)).records;
    assert.deepEqual([first?.input, first?.result, first?.svidgate.unreplayable], [undefined, true, ['/input']]);
    assert.deepEqual([second?.input, second?.result, second?.erased], [{ version: {} }, undefined, ['/result']]);
    assert.deepEqual(second?.svidgate.unreplayable, ['/nd_builtin_cache/rand.intn']);
  });

  test('records what is too large for the log without what may be large', async () => {
    await using temp = await tempFolder();
    const shown = { headers: [], query: [], claims: [], paths: ['/input'] };
    // A line may be an eighth of this.
    const recorder = await openDecisionRecorder(optionsFor(temp.path, { shown, maxBytes: 2 ** 20 }));
    const about = { needs: 'all', cached: false, entrypoint: 'a/allow', value: true } as const;
    const list = Array.from({ length: 200 }, () => 'x'.repeat(1000));
    recorder.record(check(1, {}, { evaluated: { ...about, input: UTF8.encode(JSON.stringify({ list })) } }));
    await recorder.close();
    const [record] = (await read(temp.path)).records;
    assert.deepEqual([record?.input, record?.erased], [undefined, ['/input', '/result']]);
    assert.deepEqual(record?.svidgate.unreplayable, ['/input']);
  });

  test('leaves out allows by their id, and counts them; denies never', async () => {
    await using temp = await tempFolder();
    const sampleAllows = new Map([['default', 0.25]]);
    const recorder = await openDecisionRecorder(optionsFor(temp.path, { sampleAllows }));
    const ids = Array.from({ length: 200 }, (_, number) => Math.floor((number / 200) * 2 ** 32));
    for (const id of ids) recorder.record(check(id));
    for (const id of ids) recorder.record(check(id, { outcome: 'deny' }, { reason: 'policy_denied' }));
    for (const id of ids) recorder.record(check(id, { policy: 'other' }));
    await recorder.close();
    const { records, losses } = await read(temp.path);
    const allows = records.filter(({ svidgate }) => svidgate.outcome === 'allow' && svidgate.policy === 'default');
    assert.deepEqual([allows.length, records.length, losses.get('sampled')?.records], [50, 450, 150]);
  });

  test('takes no other decision with one that cannot be recorded', async () => {
    await using temp = await tempFolder();
    const recorder = await openDecisionRecorder(optionsFor(temp.path));
    recorder.record(check(1));
    recorder.record(
      check(2, {
        facts: () => {
          throw new Error('a defect');
        },
      }),
    );
    const broken = { input: UTF8.encode('{'), needs: 'all', cached: false, entrypoint: 'a/allow' } as const;
    recorder.record(check(3, {}, { evaluated: broken }));
    recorder.record(check(4));
    await recorder.close();
    const { records, losses } = await read(temp.path);
    assert.deepEqual([records.length, losses.get('failed')?.records], [2, 2]);
  });

  test('goes on in a new thread when one dies, and counts what that one had', async () => {
    await using temp = await tempFolder();
    let die: (() => Promise<void>) | undefined;
    const recorder = await openDecisionRecorder({
      ...optionsFor(temp.path),
      async startThread(options) {
        const thread = await startRecordThread(options);
        die = async () => {
          await thread.close(5000);
          options.onDeath('the test ended it');
        };
        return thread;
      },
    });
    recorder.record(check(1));
    await waitUntil('it is written', 5000, async () => (await recorder.status())?.log.written === 1);
    await die?.();
    for (let number = 2; number <= 4; number += 1) recorder.record(check(number));
    await waitUntil('a new thread', 5000, async () => (await recorder.status())?.log.lost['failed'] === 3);
    recorder.record(check(5));
    await recorder.close();
    const { records, losses } = await read(temp.path);
    assert.deepEqual([records.map(({ req_id: id }) => id), losses.get('failed')?.records], [[1, 2], 3]);
    // The new thread is told what the policy looks at.
    assert.equal(records[1]?.svidgate.recorded, 'all');
  });

  test('passes on what the log counts, and says how it stands', async () => {
    await using temp = await tempFolder();
    const counted = new Map<string, number>();
    const metrics: Metrics = {
      ...noMetrics,
      count: (name, _labels, by = 1) => void counted.set(name, (counted.get(name) ?? 0) + by),
    };
    const recorder = await openDecisionRecorder(optionsFor(temp.path, { metrics }));
    recorder.record(check(1));
    await waitUntil('it is written', 5000, async () => (await recorder.status())?.log.written === 1);
    await waitUntil('it is counted', 5000, () => counted.get('svidgate_decision_log_records_total') === 1);
    await recorder.close();
  });

  test('counts at once what is lost while its thread is stuck, tells so, and sends no message for each loss', async () => {
    await using temp = await tempFolder();
    const counted = new Map<string, number>();
    const metrics: Metrics = {
      ...noMetrics,
      count: (name, labels, by = 1) => {
        const key = `${name} ${Object.values(labels).join()}`;
        counted.set(key, (counted.get(key) ?? 0) + by);
      },
    };
    const told: unknown[] = [];
    const logger: Logger = { ...silentLogger, error: ({ count }, message) => void told.push([message, count]) };
    let posted = 0;
    const recorder = await openDecisionRecorder({
      ...optionsFor(temp.path, { metrics, logger, maxQueued: 10 }),
      async startThread(options) {
        const thread = await startRecordThread(options);
        // It gets nothing, and so is done with nothing.
        return Object.assign(thread, { post: () => void (posted += 1) });
      },
    });
    for (let number = 0; number < 2000; number += 1) {
      recorder.record(check(number));
      if (number % 2 === 0) await new Promise(setImmediate);
    }
    assert.equal(counted.get('svidgate_decision_log_lost_total queue'), 1990);
    assert.equal(recorder.untoldLosses, 1990);
    assert.ok(posted < 500, String(posted));
    await recorder.close();
    assert.deepEqual(told, [['decision records not written at the end', 2000]]);
  });

  test('counts a loss once, whoever writes it down', async () => {
    await using temp = await tempFolder();
    let counted = 0;
    const metrics: Metrics = {
      ...noMetrics,
      count: (name, _labels, by = 1) => void (counted += name === 'svidgate_decision_log_lost_total' ? by : 0),
    };
    const recorder = await openDecisionRecorder(optionsFor(temp.path, { maxQueued: 10, metrics }));
    for (let number = 0; number < 50; number += 1) recorder.record(check(number));
    await waitUntil('it is told', 5000, async () => (await recorder.status())?.log.lost['queue'] === 40);
    await waitUntil('it is written', 5000, async () => (await recorder.status())?.log.written === 10);
    assert.deepEqual([counted, recorder.untoldLosses], [40, 0]);
    await recorder.close();
  });

  test('holds no more of inputs than its bound before they are sent', async () => {
    await using temp = await tempFolder();
    const recorder = await openDecisionRecorder(optionsFor(temp.path, { maxQueuedBytes: 100_000 }));
    for (let number = 0; number < 10; number += 1) recorder.record(check(number, { inputBytes: 30_000 }));
    await recorder.close();
    const { records, losses } = await read(temp.path);
    assert.deepEqual([records.length, losses.get('queue')?.records], [3, 7]);
  });

  test('says within a second that its thread does not answer', async () => {
    await using temp = await tempFolder();
    const none = new Uint8Array();
    const { folder, maxBytes, labels, shown, key } = optionsFor(temp.path);
    const thread = await startRecordThread({
      job: { folder, maxBytes, labels, shown, key },
      logger: silentLogger,
      metrics: noMetrics,
      writeOut: () => Promise.resolve(),
      onDone: () => undefined,
      onFollowed: () => undefined,
      onRule: () => Promise.resolve({ kind: 'error' }),
      onDeath: () => undefined,
    });
    const post = (facts: string): void =>
      thread.post({ kind: 'decisions', facts, inputs: none.slice(), paths: [], common: [], lost: [] });
    assert.ok((await thread.status()) !== undefined);
    // No decisions, each of which takes its time.
    for (let count = 0; count < 20; count += 1) post(`[${'{},'.repeat(100_000)}{}]`);
    const startedAt = performance.now();
    assert.equal(await thread.status(), undefined);
    assert.ok(performance.now() - startedAt < 5000);
    await thread.close(0);
  });

  test('does not start where the log cannot be opened', async () => {
    await using temp = await tempFolder();
    await writeFile(join(temp.path, 'file'), '');
    await assert.rejects(
      openDecisionRecorder(optionsFor(temp.path, { folder: join(temp.path, 'file', 'decisions') })),
      {
        code: 'file_unreadable',
      },
    );
  });
});
