import assert from 'node:assert/strict';
import { appendFile, chmod, mkdir, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { noMetrics, silentLogger, type Logger, type Metrics } from '../../../../src/core/index.ts';
import {
  openRecordLog,
  readRecords,
  type RecordCursor,
  type RecordLog,
  type RecordLogOptions,
} from '../../../../src/evidence/log/index.ts';
import { recordLine } from '../../../support/record-line.ts';
import { noSmallDisk, runOnSmallDisk } from '../../../support/small-disk.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { createTestClock, type TestClock } from '../../../support/test-clock.ts';
import { waitUntil } from '../../../support/wait-until.ts';

const MIB = 2 ** 20;
const signal = new AbortController().signal;

interface Opened extends AsyncDisposable {
  readonly log: RecordLog;
  readonly clock: TestClock;
  readonly counted: Record<string, number>;
  readonly told: string[];
}

async function openLog(folder: string, changed: Partial<RecordLogOptions> = {}): Promise<Opened> {
  const clock = createTestClock();
  const counted: Record<string, number> = {};
  const told: string[] = [];
  const metrics: Metrics = {
    ...noMetrics,
    count(name, labels, by = 1) {
      const key = [name.replace('svidgate_decision_log_', ''), ...Object.values(labels)].join(' ');
      counted[key] = (counted[key] ?? 0) + by;
    },
  };
  const tell = (_fields: unknown, message: string): void => void told.push(message);
  const logger: Logger = { ...silentLogger, info: tell, warn: tell, error: tell };
  const log = await openRecordLog({ folder, maxBytes: 8 * MIB, clock, logger, metrics, ...changed });
  return { log, clock, counted, told, [Symbol.asyncDispose]: () => log[Symbol.asyncDispose]() };
}

function lineOf(id: string, padding = 0): string {
  return recordLine(id, { padding });
}

async function idsIn(path: string): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const record of readRecords(path)) ids.push(record.decision_id);
  return ids;
}

async function countsIn(path: string): Promise<ReturnType<typeof readRecords>['counts']> {
  const reading = readRecords(path);
  for await (const record of reading) void record;
  return reading.counts;
}

async function lossesIn(path: string): Promise<object> {
  return Object.fromEntries((await countsIn(path)).losses);
}

/** Lets the log do what it does each second. */
async function tick(clock: TestClock): Promise<void> {
  const isDone = (): boolean => clock.sleeping === 1;
  await waitUntil('the log to wait', 5000, isDone);
  await clock.advance(1000);
  await waitUntil('the log to be done', 5000, isDone);
}

/** Everything that is there now. */
async function readAll(cursor: RecordCursor, maxLines = 100): Promise<readonly string[]> {
  const ids: string[] = [];
  while (cursor.behind > 0) {
    const lines = await cursor.read({ maxLines, maxBytes: MIB, signal });
    for (const { kind, bytes } of lines) {
      if (kind === 'record') ids.push((JSON.parse(bytes.toString()) as { decision_id: string }).decision_id);
    }
    cursor.commit(lines.length);
  }
  return ids;
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `d${from + index}`);
}

describe('the decision log on disk', () => {
  it('keeps records in files that only its own user can read', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'data', 'decisions');
    await using opened = await openLog(path);
    assert.equal(opened.log.append(['a', 'b'].map((id) => lineOf(id))), 'written');
    assert.deepEqual(await idsIn(path), ['a', 'b']);
    assert.equal((await stat(path)).mode & 0o777, 0o700);
    for (const name of await readdir(path)) assert.equal((await stat(join(path, name))).mode & 0o777, 0o600, name);
    assert.ok((await readdir(path)).includes('decisions-0000000001.jsonl'));
    assert.equal(opened.counted['records_total'], 2);
    const { bytes, ...status } = opened.log.status();
    assert.deepEqual(status, { segments: 1, written: 2, waiting: 0, lost: {}, failure: undefined });
    assert.equal(bytes, (await stat(join(path, 'decisions-0000000001.jsonl'))).size);
  });

  it('goes on in the same segment, and begins another by size and by age', async () => {
    await using folder = await tempFolder();
    const options = { segmentBytes: 20_000, segmentMs: 60_000 };
    {
      await using opened = await openLog(folder.path, options);
      opened.log.append([lineOf('d0')]);
    }
    await using opened = await openLog(folder.path, { ...options, clock: createTestClock(Date.now()) });
    opened.log.append([lineOf('d1')]);
    assert.equal(opened.log.status().segments, 1);
    opened.log.append([lineOf('d2', 19_000)]);
    assert.equal(opened.log.status().segments, 2);
    assert.deepEqual(await idsIn(folder.path), ['d0', 'd1', 'd2']);
    await using late = await tempFolder();
    await using aging = await openLog(late.path, options);
    aging.log.append([lineOf('d0')]);
    await aging.clock.advance(60_001);
    aging.log.append([lineOf('d1')]);
    assert.equal(aging.log.status().segments, 2);
  });

  it('removes the oldest segment when all of them take too much, and counts for each reader what it had not read', async () => {
    await using folder = await tempFolder();
    await using opened = await openLog(folder.path, { maxBytes: MIB });
    const { log, counted, told } = opened;
    const [slow, quick] = [log.cursor('slow'), log.cursor('quick')];
    const quickIds: string[] = [];
    for (let number = 0; number < 300; number += 1) {
      log.append([lineOf(`d${number}`, 10_000)]);
      quickIds.push(...(await readAll(quick)));
      assert.ok(log.status().bytes <= MIB);
    }
    assert.deepEqual(quickIds, numbers(0, 300));
    assert.equal(quick.lost, 0);
    const kept = await idsIn(folder.path);
    assert.ok(kept.length > 70 && kept.length < 110, String(kept.length));
    assert.deepEqual(await readAll(slow), kept);
    assert.equal(slow.lost, 300 - kept.length);
    assert.equal(counted['sink_lost_total slow overrun'], 300 - kept.length);
    assert.equal(counted['sink_lost_total quick overrun'], undefined);
    assert.deepEqual(told, ['decision records removed before they were delivered']);
    assert.equal((await countsIn(folder.path)).missing, 0, 'what is gone at the start is no gap');
  });

  it('a batch that is larger than a segment is written in pieces; a record that is, is lost and counted', async () => {
    await using folder = await tempFolder();
    await using opened = await openLog(folder.path, { maxBytes: 4 * MIB, segmentBytes: 100_000 });
    const { log, clock } = opened;
    assert.equal(log.append(numbers(0, 100).map((id) => lineOf(id, 5000))), 'written');
    assert.equal(log.append([lineOf('d100'), lineOf('huge', 200_000), lineOf('d101')]), 'lost');
    assert.deepEqual(await idsIn(folder.path), numbers(0, 102));
    assert.ok(log.status().segments > 5);
    await tick(clock);
    assert.deepEqual(await lossesIn(folder.path), { too_large: { lines: 1, records: 1, unknown: 0 } });
    assert.equal(opened.counted['lost_total too_large'], 1);
  });

  it('losses of one second are one line', async () => {
    await using folder = await tempFolder();
    await using opened = await openLog(folder.path);
    const { log, clock, counted } = opened;
    const cursor = log.cursor('sink');
    log.lose({ reason: 'queue', count: 3 });
    log.lose({ reason: 'queue', count: 4 });
    log.lose({ reason: 'sampled', policy: 'default', count: 9 });
    await tick(clock);
    log.lose({ reason: 'queue', count: 1 });
    await tick(clock);
    assert.deepEqual(await lossesIn(folder.path), {
      queue: { lines: 2, records: 8, unknown: 0 },
      sampled: { lines: 1, records: 9, unknown: 0 },
    });
    assert.deepEqual(counted, { 'lost_total queue': 8 }, 'what is left out on purpose is no loss');
    assert.equal(cursor.behind, 0);
    const lines = await cursor.read({ maxLines: 10, maxBytes: MIB, signal });
    assert.deepEqual(lines.map(({ kind }) => kind), ['loss', 'loss', 'loss']); // prettier-ignore
    assert.equal(
      lines[1]?.bytes.toString(),
      '{"svidgate_loss":{"reason":"sampled","policy":"default","count":9,"from":"2026-01-01T00:00:00.000Z","until":"2026-01-01T00:00:00.000Z"}}',
    );
  });

  it('tells of an end without order, and cuts half a line', async () => {
    await using folder = await tempFolder();
    {
      await using opened = await openLog(folder.path);
      opened.log.append(numbers(0, 3).map((id) => lineOf(id)));
    }
    await writeFile(join(folder.path, 'writer.json'), '{"pid":999999999,"startTicks":"1"}');
    await appendFile(join(folder.path, 'decisions-0000000001.jsonl'), lineOf('torn').slice(0, 100));
    await using opened = await openLog(folder.path);
    opened.log.append([lineOf('d3')]);
    assert.deepEqual(await idsIn(folder.path), numbers(0, 4));
    const { damaged, unfinished, missing } = await countsIn(folder.path);
    assert.deepEqual([damaged, unfinished, missing], [0, 0, 0]);
    assert.deepEqual(await lossesIn(folder.path), {
      unclean_end: { lines: 1, records: 0, unknown: 1 },
      torn: { lines: 1, records: 1, unknown: 0 },
    });
    assert.deepEqual(opened.told, ['decision log was not closed in order']);
    assert.equal(opened.counted['unclean_ends_total'], 1);
  });

  it('says nothing of an end in order', async () => {
    await using folder = await tempFolder();
    for (let run = 0; run < 2; run += 1) {
      await using opened = await openLog(folder.path);
      opened.log.append([lineOf(`d${run}`)]);
      assert.deepEqual(opened.told, []);
    }
    assert.deepEqual(await lossesIn(folder.path), {});
  });

  it('starts over a last segment that has no first line', async () => {
    await using folder = await tempFolder();
    {
      await using opened = await openLog(folder.path);
      opened.log.append([lineOf('d0')]);
    }
    await writeFile(join(folder.path, 'decisions-0000000002.jsonl'), '{"svidgate_seg');
    await writeFile(join(folder.path, 'decisions-0000000003.jsonl'), '');
    await using opened = await openLog(folder.path);
    opened.log.append([lineOf('d1')]);
    assert.deepEqual(await idsIn(folder.path), ['d0', 'd1']);
    assert.equal((await countsIn(folder.path)).damaged, 0);
  });

  it('refuses a folder that others may enter, a link, and one that another process writes to', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'open');
    await mkdir(path);
    await chmod(path, 0o750);
    await assert.rejects(openLog(path), {
      code: 'file_unreadable',
      message: /folder of the decision log, .*open, cannot be used/,
    });
    await chmod(path, 0o700);
    await symlink(path, join(folder.path, 'link'));
    await assert.rejects(openLog(join(folder.path, 'link')), { code: 'file_unreadable' });
    const stat = await readFile(`/proc/${process.ppid}/stat`, 'utf8');
    const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const mark = JSON.stringify({ pid: process.ppid, startTicks });
    await writeFile(join(path, 'writer.json'), mark);
    await assert.rejects(openLog(path), { code: 'already_running', message: new RegExp(`process ${process.ppid}`) });
    assert.equal(await readFile(join(path, 'writer.json'), 'utf8'), mark);
  });

  it('goes on in a new segment when somebody removes the one that is written', async () => {
    await using folder = await tempFolder();
    await using opened = await openLog(folder.path);
    const { log, clock, told } = opened;
    const cursor = log.cursor('sink');
    log.append([lineOf('d0')]);
    await rm(join(folder.path, 'decisions-0000000001.jsonl'));
    await tick(clock);
    assert.deepEqual(told, ['decision log cannot be written']);
    assert.equal(log.append([lineOf('d1')]), 'written');
    assert.deepEqual(await idsIn(folder.path), ['d1']);
    assert.deepEqual(await readAll(cursor), ['d1']);
    assert.equal(cursor.lost, 1);
  });

  it(
    'keeps what comes while the disk is full, loses what is too much for its memory, and counts it',
    { skip: noSmallDisk },
    async () => {
      await runOnSmallDisk(
        fileURLToPath(new URL('../../../support/record-log-full-disk.ts', import.meta.url)),
        24 * MIB,
      );
    },
  );
});

describe('a cursor', () => {
  it('begins with what comes after it, goes on where it was, and gives again what was not committed', async () => {
    await using folder = await tempFolder();
    {
      await using opened = await openLog(folder.path);
      opened.log.append([lineOf('before')]);
      const cursor = opened.log.cursor('sink');
      assert.equal(cursor.behind, 0);
      opened.log.append(numbers(0, 10).map((id) => lineOf(id)));
      assert.equal(cursor.behind, 10);
      const lines = await cursor.read({ maxLines: 5, maxBytes: MIB, signal });
      assert.equal(lines.length, 5);
      assert.deepEqual(await cursor.read({ maxLines: 5, maxBytes: MIB, signal }), lines);
      cursor.commit(3);
      assert.equal(cursor.behind, 7);
    }
    await using opened = await openLog(folder.path);
    assert.deepEqual(await readAll(opened.log.cursor('sink'), 2), numbers(3, 10));
    assert.equal(opened.log.cursor('another').behind, 0);
  });

  it('gives at least one line, and no more bytes than it was told to', async () => {
    await using folder = await tempFolder();
    await using opened = await openLog(folder.path);
    const cursor = opened.log.cursor('sink');
    opened.log.append([lineOf('long', 200_000), ...numbers(0, 50).map((id) => lineOf(id))]);
    const first = await cursor.read({ maxLines: 100, maxBytes: 1000, signal });
    assert.equal(first.length, 1);
    cursor.commit(1);
    const next = await cursor.read({ maxLines: 100, maxBytes: 1000, signal });
    assert.ok(next.length > 1 && next.reduce((sum, { bytes }) => sum + bytes.length, 0) <= 1000);
  });

  it('waits for what comes', async () => {
    await using folder = await tempFolder();
    await using opened = await openLog(folder.path);
    const cursor = opened.log.cursor('sink');
    const reading = cursor.read({ maxLines: 10, maxBytes: MIB, signal });
    opened.log.append([lineOf('d0')]);
    assert.equal((await reading).length, 1);
    cursor.commit(1);
    const stop = new AbortController();
    const waiting = cursor.read({ maxLines: 10, maxBytes: MIB, signal: stop.signal });
    stop.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
  });

  const places: readonly (readonly [string, string | undefined, readonly string[]])[] = [
    ['that cannot be understood', 'x', numbers(0, 4)],
    ['of another log', '{"segment":9,"offset":5,"record":77,"lost":0}', numbers(0, 4)],
    ['in the middle of a line', '{"segment":1,"offset":333,"record":1,"lost":0}', numbers(0, 4)],
    ['that a power cut took', '{"segment":1,"offset":999999,"record":9,"lost":0}', ['d3']],
    ['that is gone', undefined, ['d3']],
  ];
  for (const [what, text, expected] of places) {
    it(`a place ${what} loses nothing`, async () => {
      await using folder = await tempFolder();
      {
        await using opened = await openLog(folder.path);
        opened.log.cursor('sink');
        opened.log.append(numbers(0, 3).map((id) => lineOf(id)));
      }
      const file = join(folder.path, 'cursor-sink.json');
      if (text === undefined) await rm(file);
      else await writeFile(file, text);
      await using opened = await openLog(folder.path);
      const cursor = opened.log.cursor('sink');
      opened.log.append([lineOf('d3')]);
      assert.deepEqual(await readAll(cursor), expected);
      assert.equal(cursor.lost, 0);
    });
  }

  it('passes over what a power cut damaged', async () => {
    await using folder = await tempFolder();
    {
      await using opened = await openLog(folder.path);
      opened.log.cursor('sink');
      opened.log.append([lineOf('d0'), lineOf('d1')]);
    }
    const segment = join(folder.path, 'decisions-0000000001.jsonl');
    await truncate(segment, (await stat(segment)).size + 4096);
    await using opened = await openLog(folder.path);
    opened.log.append([lineOf('d2')]);
    assert.deepEqual(await readAll(opened.log.cursor('sink')), numbers(0, 3));
  });
});
