/** Exports of decision records are what the published definitions of OpenTelemetry logs say, read by Go's protojson. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { exportLogs } from '../../src/evidence/sinks/otlp-logs.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import { buildGoProgram } from '../support/go-program.ts';
import { attributeOf, logRecordsOf } from '../support/otlp-log-receiver.ts';
import { recordLine } from '../support/record-line.ts';

let program: string;

before(
  async () => {
    program = await buildGoProgram(fileURLToPath(new URL('./otlp-logs', import.meta.url)));
  },
  { timeout: BUILD_LIMIT_MS },
);

/** What the program reads of each value. */
async function ask(values: readonly unknown[]): Promise<readonly unknown[]> {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(values.map((value) => JSON.stringify(value)).join('\n'));
  return (await text(child.stdout)).trimEnd().split('\n').map((line) => JSON.parse(line) as unknown); // prettier-ignore
}

/** OTLP writes ids in hex, protojson in base64. */
function withBase64Ids(request: unknown): unknown {
  const toBase64 = (key: string, value: unknown): unknown =>
    key === 'traceId' || key === 'spanId' ? Buffer.from(String(value), 'hex').toString('base64') : value;
  return JSON.parse(JSON.stringify(request), toBase64) as unknown;
}

/** protojson writes enums by name. */
function withSeverityNames(request: unknown): unknown {
  const names: Readonly<Record<number, string>> = { 9: 'INFO', 13: 'WARN', 17: 'ERROR' };
  const toName = (key: string, value: unknown): unknown =>
    key === 'severityNumber' ? `SEVERITY_NUMBER_${names[Number(value)]}` : value;
  return JSON.parse(JSON.stringify(request), toName) as unknown;
}

const outcome = fc.constantFrom('allow', 'deny', 'failure', 'unenforced', 'dry_run');
const word = fc.string({ unit: 'grapheme' });
const recordText = fc
  .record({
    id: word,
    outcome,
    principal: word,
    status: fc.nat(599),
    label: word,
    trace: fc.boolean(),
    ms: fc.integer({ min: 1, max: 4e12 }),
  })
  .map(({ id, outcome: kind, principal, status, label, trace, ms }) =>
    recordLine(id, {
      labels: { id: 'gate', cluster: label },
      timestamp: new Date(ms).toISOString(),
      ...(trace ? { trace_id: '0af7651916cd43dd8448eb211c80319c', span_id: 'b7ad6b7169203331' } : {}),
      svidgate: { outcome: kind, principal, http_status: status },
    }),
  );
const lossText = fc.nat().map((count) => {
  const at = '2026-11-22T10:00:00.5Z';
  return JSON.stringify({ svidgate_loss: { reason: 'queue', count, from: at, until: at } });
});

test('nothing of an export is unknown to them, and nothing gets lost on the way', async () => {
  const batches = fc.sample(fc.array(fc.oneof({ weight: 5, arbitrary: recordText }, lossText), { minLength: 1 }), 200);
  const requests = batches.map((lines) => {
    const kinds = lines.map((line) => ({
      kind: line.startsWith('{"svidgate_loss') ? ('loss' as const) : ('record' as const),
      bytes: Buffer.from(line),
    }));
    const { request, records, damaged } = exportLogs(kinds, Date.UTC(2026, 10, 22));
    assert.deepEqual([records, damaged], [lines.length, 0]);
    assert.equal(logRecordsOf(request).length, lines.length);
    return request;
  });
  const read = await ask(requests.map(withBase64Ids));
  assert.equal(read.length, requests.length);
  for (const [index, request] of requests.entries()) {
    assert.deepEqual(read[index], withSeverityNames(withBase64Ids(request)));
  }
});

test('they do refuse what they do not know', async () => {
  const { request } = exportLogs([{ kind: 'record', bytes: Buffer.from(recordLine('x')) }], 0);
  const [record] = logRecordsOf(request);
  assert.ok(record !== undefined && attributeOf(record, 'svidgate.decision_id') === 'x');
  Object.assign(record, { eventname: 'x' });
  const [answer] = (await ask([withBase64Ids(request)])) as readonly { readonly refused?: string }[];
  assert.match(answer?.refused ?? '', /unknown field "eventname"/);
});
