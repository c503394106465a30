/**
 * endpoints/telemetry: /metrics, /live and /ready over HTTP, for Prometheus and for whoever starts and restarts us.
 * Promises: /live answers while the process can answer at all; /ready says by name what is missing. Reads only.
 * Must not know where metrics and checks come from, nor what listens.
 */
export { createTelemetryApp, type ReadinessCheck, type TelemetryApp, type TelemetrySources } from './app.ts';
