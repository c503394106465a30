import { join } from 'node:path';
import { openDecisionRecorder, openHashKey } from '../evidence/index.ts';
import { openStandardOutput } from '../telemetry/index.ts';
import type { PartsContext } from './authority-parts.ts';
import { watchDecisionLog, type DecisionLog } from './decision-log-report.ts';

/** The log of decisions; undefined without the section or without a gate. Throws what opening it throws. */
export async function openDecisionLog({
  config,
  clock,
  logger,
  metrics,
  directory,
  stores,
}: PartsContext): Promise<DecisionLog | undefined> {
  const { authz, decisionLog } = config;
  if (authz === undefined || decisionLog === undefined) return undefined;
  const { folder, maxBytes, labels, shown, stdout, opa, otlp } = decisionLog;
  const sampleAllows = new Map([...authz.policies].map(([name, { sampleAllows: share = 1 }]) => [name, share]));
  const recorder = await openDecisionRecorder({
    folder,
    maxBytes,
    labels,
    shown,
    key: await openHashKey(join(directory.path, 'decision-log.key')),
    sinks: { stdout, ...(opa === undefined ? {} : { opa }), ...(otlp === undefined ? {} : { otlp }) },
    writeOut: (lines) => openStandardOutput().writeAll(lines),
    sampleAllows,
    clock,
    logger: logger.child({ room: 'evidence' }),
    metrics,
  });
  stores.defer(() => recorder.close());
  const stop = new AbortController();
  stores.defer(() => stop.abort());
  return watchDecisionLog(recorder, clock, stop.signal);
}
