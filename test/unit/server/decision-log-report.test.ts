import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../src/core/index.ts';
import type { OffloadEvidence, OpenDecisionRecorder, RecorderStatus } from '../../../src/evidence/index.ts';
import { decisionLogProblems, decisionLogReport, watchDecisionLog } from '../../../src/server/decision-log-report.ts';
import type { ServerParts } from '../../../src/server/parts.ts';
import { waitUntil } from '../../support/wait-until.ts';

const LOG = { bytes: 7, segments: 1, written: 3, waiting: 0, lost: { queue: 2, sampled: 9 }, failure: undefined };

test('a recording thread that does not answer is told, with what it said last and what is lost meanwhile', async () => {
  let status: RecorderStatus | undefined = { log: LOG, sinks: [] };
  let untoldLosses = 0;
  const recorder: OpenDecisionRecorder = {
    record: () => undefined,
    recordLogged: () => undefined,
    status: () => Promise.resolve(status),
    get untoldLosses() {
      return untoldLosses;
    },
    close: () => Promise.resolve(),
  };
  const stop = new AbortController();
  const decisionLog = watchDecisionLog(recorder, systemClock, stop.signal);
  const config = { decisionLog: { folder: '/decisions' } };
  const parts = { config, decisionLog, clock: systemClock } as unknown as ServerParts;
  try {
    await waitUntil('an answer', 5000, () => decisionLog.status() !== undefined);
    assert.deepEqual([decisionLogReport(parts)?.problem, decisionLogReport(parts)?.lost], [undefined, 2]);
    [status, untoldLosses] = [undefined, 5];
    await waitUntil('no answer', 5000, () => !decisionLog.answers());
    const report = decisionLogReport(parts);
    assert.deepEqual([report?.written, report?.lost], [3, 7]);
    assert.deepEqual(decisionLogProblems(parts), [
      'decisions are not recorded: the recording thread does not answer',
      '7 decisions since the start are not in the decision log',
    ]);
  } finally {
    stop.abort();
  }
});

test('records that Envoys lost are told, and Envoys that do not tell what they answered', () => {
  const decisionLog = { recorder: { untoldLosses: 0 }, status: () => ({ log: LOG, sinks: [] }), answers: () => true };
  const line = { name: 'orders', policy: 'default', outcome: 'allow', received: 90 } as const;
  const lines: readonly OffloadEvidence[] = [
    { ...line, pid: 7, uid: 0, counted: 100, lost: 8 },
    { ...line, pid: 8, uid: 0, counted: undefined, lost: undefined },
    { ...line, pid: 8, uid: 0, outcome: 'deny', counted: undefined, lost: undefined },
    { ...line, counted: 91, lost: 1 },
  ];
  const config = { decisionLog: { folder: '/decisions' } };
  const offloadEvidence = { status: () => lines };
  const parts = { config, decisionLog, offloadEvidence, clock: systemClock } as unknown as ServerParts;
  assert.deepEqual(decisionLogReport(parts)?.offloaded, lines);
  assert.deepEqual(decisionLogProblems(parts).slice(1), [
    '9 requests that Envoys answered by themselves are not in the decision log',
    '1 Envoys do not tell how many requests they answered by themselves',
  ]);
});
