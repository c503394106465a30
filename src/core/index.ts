/**
 * core: what every room stands on: errors, time, the latest value of something that changes, long tasks, files.
 * Promises: no dependency on any other room or package. Must not know what svidgate does.
 */
export { writeFileAtomic } from './atomic-file.ts';
export {
  AUDIT_EVENT_MEANINGS,
  AUDIT_FIELD_CATALOGUE,
  noAudit,
  type AuditCaller,
  type AuditEvent,
  type AuditLog,
} from './audit.ts';
export { createBackoff, type Backoff } from './backoff.ts';
export { systemClock, type Clock } from './clock.ts';
export { isCredentialName } from './credential-name.ts';
export { combine, derive } from './derive.ts';
export { describeError, ERROR_CATALOGUE, SvidgateError, type ErrorCode, type GrpcStatusName } from './errors.ts';
export { fileChanges } from './file-changes.ts';
export { JWS_ALGORITHMS } from './jws-algorithms.ts';
export {
  LOG_FIELD_CATALOGUE,
  LOG_FIELD_NAMES,
  silentLogger,
  type LogFieldName,
  type LogFields,
  type Logger,
} from './logger.ts';
export { merge } from './merge.ts';
export { MESSAGE_HEADERS } from './message-headers.ts';
export { newest } from './newest.ts';
export { METRIC_CATALOGUE, noMetrics, type MetricName, type Metrics } from './metrics.ts';
export { isFresh, QUIET_MS, readSteady } from './read-steady.ts';
export { supervise, untilAborted, type Task } from './supervisor.ts';
export { Watchable, type ReadonlyWatchable } from './watchable.ts';
