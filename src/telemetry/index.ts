/**
 * telemetry: what operators see: log lines, metrics and the audit log, behind the interfaces of core.
 * Promises: only the listed fields and metrics leave the process; no key, certificate or token does, even when one comes
 * in by mistake. Must not know what the lines and figures are about.
 */
export { createAuditLog, type AuditLogOptions, type OpenAuditLog } from './audit-log.ts';
export { formatAuditLine, MAX_AUDIT_LIST_LENGTH, MAX_AUDIT_TEXT_LENGTH } from './audit-log-line.ts';
export { limitFloods } from './flood-limit.ts';
export {
  createLogger,
  LOG_LEVELS,
  MAX_LIST_LENGTH,
  MAX_TEXT_LENGTH,
  type LoggerOptions,
  type LogLevel,
} from './logger.ts';
export { createMetrics, type MetricsOptions, type MetricsRegistry, type RenderedMetrics } from './metrics.ts';
export { redact, REDACTED } from './redaction.ts';
export { openStandardOutput, type StandardOutput } from './standard-output.ts';
