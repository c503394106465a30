/**
 * telemetry: what operators see: log lines and metrics, behind the Logger and Metrics interfaces of core.
 * Promises: only the listed fields and metrics leave the process; no key, certificate or token does, even when one comes
 * in by mistake. Must not know what the lines and figures are about.
 */
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
