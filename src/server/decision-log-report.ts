import type { Clock } from '../core/index.ts';
import type { DecisionLogReport } from '../endpoints/admin/index.ts';
import type { OpenDecisionRecorder, RecorderStatus } from '../evidence/index.ts';
import type { ServerParts } from './parts.ts';

/** The decision log, and how it fared when it was asked last. */
export interface DecisionLog {
  readonly recorder: OpenDecisionRecorder;
  /** What the recording thread said last; undefined when it never did. */
  readonly status: () => RecorderStatus | undefined;
  /** Whether it answered when it was asked last. */
  readonly answers: () => boolean;
}

const ASK_MS = 1000;
/** A receiver that is away for less is none of an operator's business. */
const PATIENCE_MS = 60_000;

/** Asks the recording thread until the signal is aborted. */
export function watchDecisionLog(recorder: OpenDecisionRecorder, clock: Clock, signal: AbortSignal): DecisionLog {
  let last: RecorderStatus | undefined;
  let answers = true;
  const ask = async (): Promise<void> => {
    while (!signal.aborted) {
      const status = await recorder.status();
      last = status ?? last;
      answers = status !== undefined;
      await clock.sleep(ASK_MS, signal).catch(() => undefined);
    }
  };
  void ask();
  return { recorder, status: () => last, answers: () => answers };
}

/** As the admin API shows it; undefined when nothing is recorded. */
export function decisionLogReport(parts: ServerParts): DecisionLogReport | undefined {
  const { config, decisionLog } = parts;
  if (decisionLog === undefined || config.decisionLog === undefined) return undefined;
  const { folder } = config.decisionLog;
  const lines = parts.offloadEvidence?.status() ?? [];
  const offloaded = lines.length === 0 ? {} : { offloaded: lines };
  const { untoldLosses } = decisionLog.recorder;
  const status = decisionLog.status();
  if (status === undefined) {
    return { folder, bytes: 0, written: 0, lost: untoldLosses, waiting: 0, problem: AWAY, sinks: [], ...offloaded };
  }
  const { log, sinks } = status;
  const problem = decisionLog.answers() ? log.failure : AWAY;
  const lost = Object.entries(log.lost).reduce((sum, [reason, count]) => sum + (reason === 'sampled' ? 0 : count), 0);
  return {
    folder,
    bytes: log.bytes,
    written: log.written,
    lost: lost + untoldLosses,
    waiting: log.waiting,
    ...offloaded,
    ...(problem === undefined ? {} : { problem }),
    sinks: sinks.map(({ name, delivered, lost: missed, lagRecords, lagSeconds, lastDeliveredAt, failing }) => ({
      name,
      delivered,
      lost: missed,
      lagRecords,
      lagSeconds: Math.round(lagSeconds),
      ...(lastDeliveredAt === undefined ? {} : { lastDeliveredAt: Date.parse(lastDeliveredAt) }),
      ...(failing === undefined ? {} : { failing: { since: Date.parse(failing.since), reason: failing.reason } }),
    })),
  };
}

/** What is wrong with recording, for operators: nothing of it keeps the gate from deciding. */
export function decisionLogProblems(parts: ServerParts): readonly string[] {
  const report = decisionLogReport(parts);
  if (report === undefined) return [];
  const late = parts.clock.now() - PATIENCE_MS;
  const { offloaded = [] } = report;
  const missing = offloaded.reduce((sum, { lost = 0 }) => sum + lost, 0);
  const untold = new Set(offloaded.flatMap(({ counted, pid }) => (counted === undefined ? [pid] : []))).size;
  return [
    ...(report.problem === undefined ? [] : [`decisions are not recorded: ${report.problem}`]),
    ...(report.lost === 0 ? [] : [`${report.lost} decisions since the start are not in the decision log`]),
    ...(missing === 0 ? [] : [`${missing} requests that Envoys answered by themselves are not in the decision log`]),
    ...(untold === 0 ? [] : [`${untold} Envoys do not tell how many requests they answered by themselves`]),
    ...report.sinks.flatMap(({ name, failing, lagRecords }) =>
      failing === undefined || failing.since > late
        ? []
        : [`the sink ${name} is ${lagRecords} decision records behind: ${failing.reason}`],
    ),
  ];
}

const AWAY = 'the recording thread does not answer';
