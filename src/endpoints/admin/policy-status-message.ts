import { msToTimestamp, type svidgate } from '../../proto/index.ts';
import type { PolicyReport } from './status-report.ts';

/** Of the mistakes of one policy. */
const MAX_MISTAKES = 20;
const MAX_MISTAKE_LENGTH = 500;

export function toPolicyStatus(report: PolicyReport): svidgate.admin.v1.PolicyStatusInit {
  const { unenforcedUntil: until, hold, source, offload, mistakes = [], ...policy } = report;
  return {
    ...policy,
    mistakes: mistakes.slice(0, MAX_MISTAKES).map(cut),
    ...(until === undefined ? {} : { unenforcedUntil: msToTimestamp(until) }),
    ...(hold === undefined ? {} : { hold: { ...hold, since: msToTimestamp(hold.since) } }),
    ...(source === undefined ? {} : { source: toPolicySource(source) }),
    ...(offload === undefined ? {} : { offload: { ...offload, reason: cut(offload.reason ?? '') } }),
  };
}

function toPolicySource(source: NonNullable<PolicyReport['source']>): svidgate.admin.v1.PolicySourceInit {
  const { lastContactAt, lastChangeAt, lastError = '', ...rest } = source;
  return {
    ...rest,
    lastError: cut(lastError),
    ...(lastContactAt === undefined ? {} : { lastContactAt: msToTimestamp(lastContactAt) }),
    ...(lastChangeAt === undefined ? {} : { lastChangeAt: msToTimestamp(lastChangeAt) }),
  };
}

function cut(text: string): string {
  return text.slice(0, MAX_MISTAKE_LENGTH).toWellFormed();
}
