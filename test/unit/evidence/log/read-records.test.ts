import assert from 'node:assert/strict';
import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import {
  readRecords,
  recordedText,
  type ReadCounts,
  type ReadProgress,
  type ReadRecordsOptions,
} from '../../../../src/evidence/log/index.ts';
import type { DecisionRecord } from '../../../../src/evidence/records/decision-record.ts';
import { recordLine } from '../../../support/record-line.ts';
import { tempFolder } from '../../../support/temp-folder.ts';

const OPA_EVENT = {
  labels: { id: 'opa', version: '1.19.1' },
  decision_id: 'opa-1',
  bundles: { authz: { revision: 'r1' } },
  path: 'envoy/authz/allow',
  input: {
    attributes: {
      request: {
        http: { method: 'GET', host: 'Orders.test', path: '/orders/17?x=1', headers: { 'x-request-id': 'q' } },
      },
      source: { principal: 'spiffe://example.test/web' },
    },
    parsed_path: ['orders', '17'],
    version: [
      [
        { type: 'string', value: 'encoding' },
        { type: 'string', value: 'protojson' },
      ],
      [
        { type: 'string', value: 'ext_authz' },
        { type: 'string', value: 'v3' },
      ],
    ],
  },
  result: true,
  nd_builtin_cache: { 'time.now_ns': { '[]': 1 } },
  timestamp: '2026-11-22T10:00:00.123456789Z',
  metrics: { timer_rego_query_eval_ns: 5 },
  req_id: 4,
};

async function read(
  path: string | readonly string[],
  options?: ReadRecordsOptions,
): Promise<{ records: DecisionRecord[]; counts: Readonly<ReadCounts> }> {
  const reading = readRecords(path, options);
  const records: DecisionRecord[] = [];
  for await (const record of reading) records.push(record);
  return { records, counts: reading.counts };
}

async function readText(text: string | Uint8Array): Promise<Awaited<ReturnType<typeof read>>> {
  await using folder = await tempFolder();
  const file = join(folder.path, 'log.jsonl');
  await writeFile(file, text);
  return await read(file);
}

describe('reading decision logs', () => {
  it('reads folders, files and what gzip made of them, in order', async () => {
    await using folder = await tempFolder();
    const segments = join(folder.path, 'decisions');
    await mkdir(segments);
    await writeFile(join(segments, 'decisions-0000000002.jsonl'), `${recordLine('b')}\n${recordLine('c')}\n`);
    await writeFile(join(segments, 'decisions-0000000001.jsonl.gz'), gzipSync(`${recordLine('a')}\n`));
    await writeFile(join(segments, 'writer.json'), '{"pid":1}');
    await writeFile(join(folder.path, 'one.log'), recordLine('d'));
    const members = Buffer.concat([gzipSync(`${recordLine('e')}\n`), gzipSync(`${recordLine('f')}\n`)]);
    await writeFile(join(folder.path, 'two.log'), members);
    const progress: ReadProgress[] = [];
    const paths = [segments, join(folder.path, 'one.log'), join(folder.path, 'two.log')];
    const { records, counts } = await read(paths, { onProgress: (now) => void progress.push(now) });
    assert.deepEqual(records.map(({ decision_id: id }) => id).join(''), 'abcdef');
    assert.deepEqual({ ...counts, losses: counts.losses.size }, { records: 6, outside: 0, damaged: 0, unfinished: 0, missing: 0, losses: 0 }); // prettier-ignore
    const last = progress.at(-1);
    assert.deepEqual([last?.records, last?.readBytes], [6, last?.totalBytes]);
    await assert.rejects(read(join(folder.path, 'nothing')), {
      code: 'file_unreadable',
      message: /nothing cannot be read/,
    });
  });

  it('gives what was decided in a span of time', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'log.jsonl');
    const at = (second: number): string => `2026-11-22T10:00:0${second}.500000000Z`;
    await writeFile(file, [1, 2, 3, 4].map((second) => recordLine(second, { timestamp: at(second) })).join('\n'));
    const span = { since: Date.parse(at(2)), until: Date.parse(at(4)) };
    const { records, counts } = await read(file, span);
    assert.deepEqual(records.map(({ decision_id: id }) => id), ['2', '3']); // prettier-ignore
    assert.equal(counts.outside, 2);
  });

  it('does not look into segments that are older than the span', async () => {
    await using folder = await tempFolder();
    for (const hour of [1, 2, 3]) {
      const opened = `2026-11-22T0${hour}:00:00.000Z`;
      const header = JSON.stringify({ svidgate_segment: { segment: hour, first: hour, opened } });
      const line = recordLine(hour, { timestamp: `2026-11-22T0${hour}:30:00.000000000Z` });
      await writeFile(join(folder.path, `decisions-000000000${hour}.jsonl`), `${header}\n${line}\n`);
    }
    const { records, counts } = await read(folder.path, { since: Date.parse('2026-11-22T02:10:00Z') });
    assert.deepEqual(records.map(({ decision_id: id }) => id), ['2', '3']); // prettier-ignore
    assert.deepEqual([counts.outside, counts.missing], [0, 0]);
    const later = await read(folder.path, { since: Date.parse('2026-11-22T02:40:00Z') });
    assert.deepEqual([later.counts.records, later.counts.outside], [1, 1]);
  });

  it('passes over segments that the log removes meanwhile', async () => {
    await using folder = await tempFolder();
    for (const number of [1, 2, 3]) {
      await writeFile(join(folder.path, `decisions-000000000${number}.jsonl`), `${recordLine(number)}\n`);
    }
    const ids: string[] = [];
    for await (const record of readRecords(folder.path)) {
      ids.push(record.decision_id);
      await rm(join(folder.path, 'decisions-0000000002.jsonl'), { force: true });
    }
    assert.deepEqual(ids, ['1', '3']);
  });

  it('ends when it is told to', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'log.jsonl');
    await writeFile(file, `${recordLine(1)}\n`.repeat(5000));
    const stop = new AbortController();
    let count = 0;
    await assert.rejects(async () => {
      for await (const record of readRecords(file, { signal: stop.signal })) {
        count += 1;
        assert.equal(record.decision_id, '1');
        if (count === 10) stop.abort(new Error('enough'));
      }
    }, /enough/);
    assert.ok(count < 5000);
  });

  it('a last line that is being written is no damage; one in the middle of a log is', async () => {
    await using folder = await tempFolder();
    const half = recordLine('half').slice(0, 50);
    const [one, two] = ['decisions-0000000001.jsonl', 'decisions-0000000002.jsonl'].map((name) =>
      join(folder.path, name),
    );
    assert.ok(one !== undefined && two !== undefined);
    await writeFile(one, `${recordLine('a')}\n${half}`);
    const { counts } = await read(folder.path);
    assert.deepEqual([counts.records, counts.damaged, counts.unfinished], [1, 0, 1]);
    await writeFile(two, `${recordLine('b')}\n${half}`);
    const both = await read(folder.path);
    assert.deepEqual([both.counts.records, both.counts.damaged, both.counts.unfinished], [2, 1, 1]);
  });

  it('counts what the log says is lost, and records between segments that somebody removed', async () => {
    const header = (first: number): string =>
      JSON.stringify({ svidgate_segment: { segment: 1, first, opened: '2026-11-22T10:00:00Z' } });
    const loss = (count: number | null): string =>
      JSON.stringify({
        svidgate_loss: { reason: 'queue', count, from: '2026-11-22T10:00:00Z', until: '2026-11-22T10:00:00Z' },
      });
    const lines = [header(100), recordLine(1), loss(5), recordLine(2), header(110), loss(null), loss(1), recordLine(3)];
    const { counts } = await readText(`${lines.join('\n')}\n`);
    assert.deepEqual([counts.records, counts.damaged, counts.missing], [3, 0, 8]);
    assert.deepEqual([...counts.losses], [['queue', { lines: 3, records: 6, unknown: 1 }]]);
  });

  it('keeps the text of numbers that JSON.parse rounds', async () => {
    const input = '{"a":{"n":12345678901234567890,"input":1.0},"text":"a\\"}b\\\\","list":[1e2,{"result":3}]}';
    const line = recordLine('x', { input: { placeholder: 1 }, result: [1] })
      .replace('{"placeholder":1}', input)
      .replace('"result":[1]', '"result" : [ 1.50 ]');
    const { records } = await readText(`${line}\n`);
    const [record] = records;
    assert.ok(record !== undefined);
    assert.equal(recordedText(record, 'input'), input);
    assert.equal(recordedText(record, 'result'), '[ 1.50 ]');
    assert.equal(recordedText(record, 'nd_builtin_cache'), undefined);
    const copy = { ...record };
    assert.equal(
      recordedText(copy, 'input'),
      JSON.stringify(record.input),
      'what was not read has the text it would have',
    );
  });

  it('finds the text of a member of any record', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue(), async (input, result) => {
        const { records } = await readText(recordLine('x', { input, result, path: '"input":{' }));
        const [record] = records;
        assert.ok(record !== undefined);
        assert.equal(recordedText(record, 'input'), JSON.stringify(input));
        assert.equal(recordedText(record, 'result'), JSON.stringify(result));
      }),
      { numRuns: 100 },
    );
  });
});

describe('logs of OPA', () => {
  it('reads an event, with its version mended, as a decision about an unverified peer', async () => {
    const { records } = await readText(JSON.stringify(OPA_EVENT));
    const [record] = records;
    assert.ok(record?.input !== undefined);
    assert.deepEqual(record.input['version'], { encoding: 'protojson', ext_authz: 'v3' });
    assert.deepEqual(record.input['parsed_path'], ['orders', '17']);
    assert.deepEqual(record.nd_builtin_cache, OPA_EVENT.nd_builtin_cache);
    assert.deepEqual(record.svidgate, {
      policy: '',
      outcome: 'allow',
      reason: '',
      http_status: 0,
      principal: 'unverified',
      caller: 'unknown',
      listener: '',
      method: 'GET',
      route: 'orders.test/orders/*',
      request_id: 'q',
      cached: false,
      recorded: 'all',
      replayable: true,
      unreplayable: [],
    });
    assert.equal(recordedText(record, 'input'), JSON.stringify(record.input));
  });

  const answers = [
    { event: { result: false }, expected: ['deny', 403, true] },
    { event: { result: { allowed: true, headers: {} } }, expected: ['allow', 0, true] },
    { event: { result: { allowed: false, http_status: 401 } }, expected: ['deny', 401, true] },
    { event: { result: 'yes' }, expected: ['failure', 403, true] },
    { event: { result: undefined }, expected: ['failure', 403, true] },
    { event: { result: undefined, error: { message: 'late' } }, expected: ['failure', 403, true] },
    { event: { erased: ['/input/attributes/request/http/headers/cookie'] }, expected: ['allow', 0, false] },
    { event: { masked: ['/result/headers'] }, expected: ['allow', 0, true] },
    { event: { input: undefined }, expected: ['allow', 0, false] },
  ];
  for (const { event, expected } of answers) {
    it(`reads ${JSON.stringify(event)}`, async () => {
      const { records } = await readText(JSON.stringify({ ...OPA_EVENT, ...event }));
      const own = records[0]?.svidgate;
      assert.deepEqual([own?.outcome, own?.http_status, own?.replayable], expected);
    });
  }

  it('reads what its console prints and bodies of its API', async () => {
    const console = { ...OPA_EVENT, level: 'info', msg: 'Decision Log', type: 'openpolicyagent.org/decision_logs' };
    const other = { level: 'info', msg: 'Initializing server.', time: '2026-11-22T10:00:00Z' };
    const body = gzipSync(JSON.stringify([OPA_EVENT, OPA_EVENT, 5]));
    const fromConsole = await readText(`${JSON.stringify(console)}\n${JSON.stringify(other)}\n`);
    assert.deepEqual([fromConsole.counts.records, fromConsole.counts.damaged], [1, 1]);
    const fromBody = await readText(body);
    assert.deepEqual([fromBody.counts.records, fromBody.counts.damaged], [2, 1]);
  });
});

describe('hostile logs', () => {
  const good = recordLine('good');
  const context = (changed: object): string => {
    const record = JSON.parse(good) as { svidgate: object };
    return JSON.stringify({ ...record, svidgate: { ...record.svidgate, ...changed } });
  };
  const lines: readonly (readonly [string, string])[] = [
    ['no JSON', 'not json'],
    ['half JSON', good.slice(0, -3)],
    ['no object', '5'],
    ['null', 'null'],
    ['an empty object', '{}'],
    ['zero bytes', '\0\0\0'],
    ['deep nesting', '['.repeat(100_000)],
    ['a record of other types', recordLine('x', { decision_id: 5 as unknown as string })],
    ['a record without a time', recordLine('x', { timestamp: 'yesterday' })],
    ['an input that is a list', recordLine('x', { input: [] as unknown as Record<string, unknown> })],
    ['an unknown outcome', context({ outcome: 'maybe' })],
    ['an unknown caller', context({ caller: {} })],
    ['a loss of nothing', '{"svidgate_loss":{"reason":"queue","count":-1,"from":"","until":""}}'],
    ['a header of nothing', '{"svidgate_segment":5}'],
    ['an event of OPA with labels of other types', JSON.stringify({ ...OPA_EVENT, labels: { id: {} } })],
  ];
  for (const [what, line] of lines) {
    it(`passes over ${what}`, async () => {
      const { records, counts } = await readText(`${good}\n${line}\n${good}\n`);
      assert.deepEqual([records.length, counts.damaged], [2, 1]);
    });
  }

  it('empty lines and other line ends are nothing', async () => {
    const { records, counts } = await readText(`\n\n${good}\r\n\n${good}`);
    assert.deepEqual([records.length, counts.damaged], [2, 0]);
  });

  it('a key named __proto__ is a key', async () => {
    const line = good.replace(
      '"input":{',
      '"input":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},',
    );
    const { records } = await readText(line.replace('"svidgate":{', '"__proto__":{"svidgate":1},"svidgate":{'));
    assert.equal(records.length, 1);
    assert.equal((records[0]?.input as { polluted?: number } | undefined)?.polluted, undefined);
    assert.equal(({} as { polluted?: number }).polluted, undefined);
  });

  it('a line of 100 MB costs no more than a part of it', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'log.jsonl');
    await writeFile(file, `${good}\n`);
    const chunk = 'x'.repeat(2 ** 20);
    for (let count = 0; count < 100; count += 1) await appendFile(file, chunk);
    await appendFile(file, `\n${good}\n`);
    const before = process.memoryUsage();
    let peak = 0;
    const { records, counts } = await read(file, {
      onProgress: () => {
        const { heapUsed, external } = process.memoryUsage();
        peak = Math.max(peak, heapUsed + external - before.heapUsed - before.external);
      },
    });
    assert.deepEqual([records.length, counts.damaged], [2, 1]);
    assert.ok(peak < 80 * 2 ** 20, `${Math.round(peak / 2 ** 20)} MiB`);
  });

  it('what half a gzip gives is taken', async () => {
    const whole = gzipSync(`${good}\n`.repeat(20_000));
    const { records, counts } = await readText(whole.subarray(0, whole.length - 20));
    assert.ok(records.length > 0 && records.length <= 20_000);
    assert.ok(counts.damaged >= 1);
  });

  it('any bytes are read to their end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
        const { records } = await readText(bytes);
        assert.equal(records.length, 0);
      }),
      { numRuns: 200 },
    );
  });
});

it('100,000 records are read in a few seconds', async () => {
  await using folder = await tempFolder();
  const file = join(folder.path, 'log.jsonl');
  const block = Array.from({ length: 1000 }, (_, index) => `${recordLine(index, { padding: 1000 })}\n`).join('');
  for (let count = 0; count < 100; count += 1) await appendFile(file, block);
  const startedAt = performance.now();
  const { counts } = await read(file);
  assert.equal(counts.records, 100_000);
  const seconds = (performance.now() - startedAt) / 1000;
  assert.ok(seconds < 10, `${seconds} s`);
});
