import { int64ToBigInt, type svidgate } from '../proto/index.ts';
import { formatTable } from './table.ts';
import { formatWhen, isoTime } from './when.ts';

type DecisionLog = svidgate.admin.v1.DecisionLogStatus;
type Count = DecisionLog['bytes'];

const COLUMNS = ['RECORDS TO', 'DELIVERED', 'BEHIND', 'LOST', 'LAST', 'PROBLEM'];
const OFFLOADED_COLUMNS = ['ANSWERED BY ENVOY', 'PID', 'POLICY', 'ANSWER', 'REQUESTS', 'RECORDS', 'LOST'];
const MIB = 2 ** 20;

/** One line about the log itself; empty when nothing is recorded. */
export function decisionLogText(log: DecisionLog | null): string {
  if (log === null) return '';
  const size = `${(numberOf(log.bytes) / MIB).toFixed(1)} MiB`;
  const counts = `${numberOf(log.written)} written, ${numberOf(log.lost)} lost`;
  return `${log.folder}, ${size}, ${counts}${log.problem === '' ? '' : `: ${log.problem}`}`;
}

/** A row for each sink. */
export function formatDecisionSinks(log: DecisionLog | null, now: number): readonly string[] {
  if (log === null || log.sinks.length === 0) return [];
  const rows = log.sinks.map((sink) => [
    sink.name,
    String(numberOf(sink.delivered)),
    numberOf(sink.lagRecords) === 0 ? '0' : `${numberOf(sink.lagRecords)}, ${numberOf(sink.lagSeconds)} s`,
    String(numberOf(sink.lost)),
    formatWhen(sink.lastDeliveredAt, now),
    sink.problem,
  ]);
  return [formatTable(COLUMNS, rows)];
}

/** A row for each Envoy and policy that it decides of by itself. */
export function formatOffloadedRequests(log: DecisionLog | null): readonly string[] {
  if (log === null || log.offloaded.length === 0) return [];
  const rows = log.offloaded.map((line) => [
    line.pid === 0 ? '(ended)' : line.nodeId,
    line.pid === 0 ? '' : String(line.pid),
    line.policy,
    line.outcome,
    line.counted === null ? 'not told' : String(numberOf(line.counted)),
    String(numberOf(line.received)),
    line.lost === null ? 'unknown' : String(numberOf(line.lost)),
  ]);
  return [formatTable(OFFLOADED_COLUMNS, rows)];
}

/** As --output json shows it. */
export function decisionLogJson(log: DecisionLog): Readonly<Record<string, unknown>> {
  return {
    folder: log.folder,
    bytes: numberOf(log.bytes),
    written: numberOf(log.written),
    lost: numberOf(log.lost),
    waiting: numberOf(log.waiting),
    ...(log.problem === '' ? {} : { problem: log.problem }),
    sinks: log.sinks.map((sink) => ({
      name: sink.name,
      delivered: numberOf(sink.delivered),
      lost: numberOf(sink.lost),
      lag_records: numberOf(sink.lagRecords),
      lag_seconds: numberOf(sink.lagSeconds),
      ...(sink.lastDeliveredAt === null ? {} : { last_delivered_at: isoTime(sink.lastDeliveredAt) }),
      ...(sink.problem === '' ? {} : { problem: sink.problem, failing_since: isoTime(sink.failingSince) }),
    })),
    ...(log.offloaded.length === 0 ? {} : { offloaded: log.offloaded.map(offloadedJson) }),
  };
}

function offloadedJson(line: DecisionLog['offloaded'][number]): object {
  const { pid, uid, nodeId, policy, outcome, received, counted, lost } = line;
  return {
    ...(pid === 0 ? {} : { pid, uid: numberOf(uid), node_id: nodeId }),
    policy,
    outcome,
    received: numberOf(received),
    ...(counted === null ? {} : { counted: numberOf(counted) }),
    ...(lost === null ? {} : { lost: numberOf(lost) }),
  };
}

function numberOf(value: Count): number {
  return Number(int64ToBigInt(value));
}
