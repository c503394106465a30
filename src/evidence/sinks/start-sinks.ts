import type { Clock, Logger, Metrics } from '../../core/index.ts';
import type { RecordLog } from '../log/index.ts';
import { opaSink, type OpaSinkOptions } from './opa-sink.ts';
import { otlpSink } from './otlp-sink.ts';
import type { ReceiverOptions } from './post.ts';
import { runSink, type SinkRun } from './run-sink.ts';
import type { RecordSink, SinkStatus } from './sink.ts';
import { stdoutSink, type WriteOut } from './stdout-sink.ts';

/** Who gets the records. Can be cloned to a thread. */
export interface SinkSettings {
  readonly stdout: boolean;
  readonly opa?: Omit<OpaSinkOptions, 'timeoutMs'>;
  readonly otlp?: Omit<ReceiverOptions, 'timeoutMs'>;
}

export interface StartSinksOptions extends SinkSettings {
  /** Nothing was appended since it was opened, or a new sink misses it. */
  readonly log: RecordLog;
  /** Only called with `stdout`. */
  readonly write: WriteOut;
  /** Of one request to a receiver with its answer; default 30 s. */
  readonly timeoutMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface RunningSinks {
  status(): readonly SinkStatus[];
  /** Delivers what is there for at most so long, then stops. What is left is delivered after the next start. */
  stop(limitMs: number): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 30_000;
const TELL_MS = 5000;
const DRAIN_LOOK_MS = 20;

/** Starts the sinks; each goes on where it was. */
export function startSinks(options: StartSinksOptions): RunningSinks {
  const { log, clock, logger, metrics } = options;
  const sinks = sinksOf(options);
  const runs = sinks.map((sink) => runSink({ sink, cursor: log.cursor(sink.name), clock, logger, metrics }));
  const stop = new AbortController();
  const work = Promise.all([...runs.map((run) => run.run(stop.signal)), tellUntil(runs, options, stop.signal)]);
  // Nothing in there is expected to fail; a fault of ours ends the thread and not only a sink.
  work.catch((error: unknown) => {
    throw error;
  });
  return {
    status: () => runs.map((run) => run.status()),
    async stop(limitMs) {
      for (const run of runs) run.hurry();
      await drained(runs, options, limitMs);
      stop.abort();
      await work;
      tell(runs, metrics);
      for (const sink of sinks) sink.close();
    },
  };
}

function sinksOf({ stdout, opa, otlp, write, clock, timeoutMs = REQUEST_TIMEOUT_MS }: StartSinksOptions): RecordSink[] {
  return [
    ...(stdout ? [stdoutSink(write)] : []),
    ...(opa === undefined ? [] : [opaSink({ ...opa, timeoutMs })]),
    ...(otlp === undefined ? [] : [otlpSink({ ...otlp, timeoutMs, clock })]),
  ];
}

async function drained(runs: readonly SinkRun[], { clock }: StartSinksOptions, limitMs: number): Promise<void> {
  const end = clock.now() + limitMs;
  const isOpen = (run: SinkRun): boolean => {
    const { lagRecords, failing } = run.status();
    return lagRecords > 0 && failing === undefined;
  };
  while (clock.now() < end && runs.some(isOpen)) await clock.sleep(DRAIN_LOOK_MS, new AbortController().signal);
}

async function tellUntil(
  runs: readonly SinkRun[],
  { clock, metrics }: StartSinksOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    tell(runs, metrics);
    try {
      await clock.sleep(TELL_MS, signal);
    } catch {
      return;
    }
  }
}

function tell(runs: readonly SinkRun[], metrics: Metrics): void {
  for (const run of runs) {
    const { name: sink, lagRecords, lagSeconds } = run.status();
    metrics.gauge('svidgate_decision_log_sink_lag_records', { sink }, lagRecords);
    metrics.gauge('svidgate_decision_log_sink_lag_seconds', { sink }, Math.round(lagSeconds));
  }
}
