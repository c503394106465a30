import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { attributeOf, logRecordsOf, startOtlpLogReceiver } from '../../../support/otlp-log-receiver.ts';
import { recordLine } from '../../../support/record-line.ts';
import { ids, lines, LIMIT_MS, settled, startSinkWorld, untilAll, withFolder } from '../../../support/sink-world.ts';
import { waitUntil } from '../../../support/wait-until.ts';

describe('the sink for OpenTelemetry logs', () => {
  it('delivers each record as a log record, with what one searches for beside it', () =>
    withFolder(async (folder) => {
      await using receiver = await startOtlpLogReceiver();
      await using world = await startSinkWorld(folder.path, { otlp: { url: receiver.url } });
      const denied = recordLine('denied', {
        labels: { id: 'gate-1', version: '1.2.3', cluster: 'west' },
        trace_id: '0AF7651916CD43DD8448EB211C80319C',
        span_id: 'b7ad6b7169203331',
        timestamp: '2026-11-22T10:00:00.123456789Z',
        svidgate: { outcome: 'deny', reason: 'policy_denied', http_status: 403, offloaded: true, offload_rule: 'r-1' },
      });
      world.log.append([...lines(0, 1000), denied]);
      world.log.lose({ reason: 'queue', count: 7 });
      await untilAll(receiver, [...ids(0, 1000), 'denied']);
      assert.deepEqual(receiver.faultsFound, []);
      const records = receiver.taken.flatMap(({ value }) => logRecordsOf(value));
      const record = records.find((each) => attributeOf(each, 'svidgate.decision_id') === 'denied');
      assert.ok(record !== undefined);
      assert.equal(record.body.stringValue, denied);
      assert.equal(record.timeUnixNano, '1795341600123456789');
      assert.deepEqual([record.traceId, record.spanId], ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331']);
      assert.deepEqual([record.severityNumber, record.eventName], [13, 'svidgate.decision']);
      assert.equal(attributeOf(record, 'svidgate.outcome'), 'deny');
      assert.equal(attributeOf(record, 'http.response.status_code'), '403');
      assert.equal(attributeOf(record, 'svidgate.offload_rule'), 'r-1');
      assert.ok(record.attributes.some(({ key }) => key === 'svidgate.offloaded'));
      const resources = receiver.taken.flatMap(
        ({ value }) => (value as { resourceLogs: { resource: Parameters<typeof attributeOf>[0] }[] }).resourceLogs,
      );
      const own = resources.find(({ resource }) => attributeOf(resource, 'cluster') === 'west');
      assert.ok(own !== undefined);
      assert.equal(attributeOf(own.resource, 'service.name'), 'svidgate');
      assert.equal(attributeOf(own.resource, 'service.instance.id'), 'gate-1');
      assert.equal(attributeOf(own.resource, 'service.version'), '1.2.3');
      const loss = await waitUntil('the loss', LIMIT_MS, () =>
        receiver.taken
          .flatMap(({ value }) => logRecordsOf(value))
          .find(({ eventName }) => eventName === 'svidgate.decision_loss'),
      );
      assert.equal(attributeOf(loss, 'svidgate.count'), '7');
    }));

  it('counts what the receiver rejects of an export, and does not send it again', () =>
    withFolder(async (folder) => {
      await using receiver = await startOtlpLogReceiver({
        answer: (value) => ({
          partialSuccess: { rejectedLogRecords: String(logRecordsOf(value).length > 1 ? 2 : 0), errorMessage: 'no' },
        }),
      });
      await using world = await startSinkWorld(folder.path, { otlp: { url: receiver.url } });
      world.log.append(lines(0, 10));
      await untilAll(receiver, ids(0, 10));
      await waitUntil('the count', LIMIT_MS, () => world.sinks.status()[0]?.lost === 2);
      assert.equal(world.sinks.status()[0]?.delivered, 8);
      assert.equal(world.counted['sink_lost_total otlp refused'], 2);
      assert.deepEqual(receiver.ids, ids(0, 10));
    }));

  for (const status of [400, 413]) {
    it(`finds the record that is refused with ${status} among others`, () =>
      withFolder(async (folder) => {
        await using receiver = await startOtlpLogReceiver();
        receiver.refuse = (_body, value) => (JSON.stringify(value).includes('poison') ? status : undefined);
        await using world = await startSinkWorld(folder.path, { otlp: { url: receiver.url } });
        world.log.append([...lines(0, 30), recordLine('poison'), ...lines(30, 60)]);
        await untilAll(receiver, ids(0, 60));
        await settled(world);
        assert.equal(world.counted['sink_lost_total otlp refused'], 1);
      }));
  }

  it('delivers everything in the end through faults of all kinds', () =>
    withFolder(async (folder) => {
      await using receiver = await startOtlpLogReceiver();
      await using world = await startSinkWorld(folder.path, { otlp: { url: receiver.url } });
      receiver.next.push(
        { kind: 'reset', when: 'in_answer' },
        { kind: 'status', status: 503, headers: { 'retry-after': new Date(Date.now() + 1500).toUTCString() } },
        { kind: 'reset', when: 'after_body' },
      );
      world.log.append(lines(0, 100));
      await waitUntil('all faults', LIMIT_MS, () => receiver.next.length === 0);
      assert.equal((await settled(world)).delivered, 100);
      assert.deepEqual(new Set(receiver.ids), new Set(ids(0, 100)));
    }));
});

describe('the sink for standard output', () => {
  it('writes records and losses, one line each, one piece after the other', () =>
    withFolder(async (folder) => {
      const written: string[] = [];
      let isWriting = false;
      const write = async (text: string): Promise<void> => {
        assert.ok(!isWriting && text.length <= 65 * 1024);
        isWriting = true;
        await new Promise((resolve) => setImmediate(resolve));
        isWriting = false;
        written.push(text);
      };
      await using world = await startSinkWorld(folder.path, { stdout: true }, { write });
      world.log.append(lines(0, 1000));
      world.log.lose({ reason: 'queue', count: 1 });
      await waitUntil('the loss', LIMIT_MS, () => written.join('').includes('svidgate_loss'));
      assert.equal(written.join('').split('\n').slice(0, 1000).join('\n'), lines(0, 1000).join('\n'));
    }));

  it('waits for a reader, and says so', () =>
    withFolder(async (folder) => {
      let isGone = true;
      const written: string[] = [];
      const write = (text: string): Promise<void> => {
        if (isGone) return Promise.reject(new Error('nobody reads standard output'));
        written.push(text);
        return Promise.resolve();
      };
      await using world = await startSinkWorld(folder.path, { stdout: true }, { write });
      world.log.append(lines(0, 3));
      const failing = await waitUntil('the failure', LIMIT_MS, () => world.sinks.status()[0]?.failing);
      assert.match(failing.reason, /nobody reads/);
      isGone = false;
      await waitUntil('the lines', LIMIT_MS, () => written.length > 0);
      assert.equal(written.join(''), `${lines(0, 3).join('\n')}\n`);
    }));

  it('stops although nobody reads', () =>
    withFolder(async (folder) => {
      const write = (): Promise<void> => new Promise(() => undefined);
      await using world = await startSinkWorld(folder.path, { stdout: true }, { write });
      world.log.append(lines(0, 3));
      await waitUntil('the lines to wait', LIMIT_MS, () => world.sinks.status()[0]?.lagRecords === 3);
      await world.sinks.stop(50);
      assert.equal(world.sinks.status()[0]?.delivered, 0);
    }));
});
