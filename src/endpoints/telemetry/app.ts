import { Hono } from 'hono';
import { describeError, silentLogger, SvidgateError, type Logger } from '../../core/index.ts';

/** One thing that must hold before requests are sent our way. */
export interface ReadinessCheck {
  /** For example `policy:default`. */
  readonly name: string;
  /** What is missing; absent when it holds. */
  readonly problem?: string;
}

export interface TelemetrySources {
  /** All metrics as text. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
  /** Every check, those that hold included. Without any we are ready. */
  readiness(): readonly ReadinessCheck[];
  /** Told when one of the above throws. Default: nobody. */
  readonly logger?: Logger;
}

/**
 * GET /metrics; GET /live, always 200; GET /ready, 200 or 503 with `{"ready", "checks": {name: "ok" or the problem}}`.
 * Everything else is 404; every answer but the metrics is JSON.
 */
export function createTelemetryApp(sources: TelemetrySources): Hono {
  const { logger = silentLogger } = sources;
  const app = new Hono();
  app.use(async (context, next) => {
    await next();
    context.header('cache-control', 'no-store');
  });
  app.get('/metrics', async (context) => {
    const { contentType, body } = await sources.render();
    return context.body(body, 200, { 'content-type': contentType });
  });
  app.get('/live', (context) => context.json({ live: true }));
  app.get('/ready', (context) => {
    const checks = sources.readiness();
    const ready = checks.every((check) => check.problem === undefined);
    const named = Object.fromEntries(checks.map((check) => [check.name, check.problem ?? 'ok']));
    return context.json({ ready, checks: named }, ready ? 200 : 503);
  });
  app.notFound((context) => context.json({ error: { code: 'not_found', message: 'no such page' } }, 404));
  app.onError((caught) => {
    const { code, message, httpStatus } = SvidgateError.from(caught);
    logger.error({ error_code: code, reason: describeError(caught) }, 'telemetry request failed');
    return Response.json({ error: { code, message } }, { status: httpStatus });
  });
  return app;
}
