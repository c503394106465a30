import { describeError, silentLogger, SvidgateError, type Logger } from '../../core/index.ts';

const NO_STORE = { 'cache-control': 'no-store' } as const;

/** One thing that must hold before requests are sent our way. */
export interface ReadinessCheck {
  /** For example `policy:default`. */
  readonly name: string;
  /** What is missing; absent when it holds. */
  readonly problem?: string;
  /** What holds, but not as it should. */
  readonly note?: string;
}

export interface TelemetrySources {
  /** All metrics as text. */
  render(): Promise<{ readonly contentType: string; readonly body: string }>;
  /** Every check, those that hold included. Without any we are ready. */
  readiness(): readonly ReadinessCheck[];
  /** Told when one of the above throws. Default: nobody. */
  readonly logger?: Logger;
}

/** What a listener serves: a request in, a response out. */
export interface TelemetryApp {
  fetch(request: Request): Promise<Response>;
}

/**
 * GET or HEAD of /metrics; of /live, always 200; of /ready, 200 or 503 with `{"ready", "checks": {name: "ok" or the
 * problem}}`, and `"notes": {name: text}` where there are some. Everything else is 404; every answer but the metrics is JSON.
 */
export function createTelemetryApp(sources: TelemetrySources): TelemetryApp {
  const { logger = silentLogger } = sources;
  return {
    async fetch(request) {
      try {
        return await answer(request, sources);
      } catch (caught) {
        const { code, message, httpStatus } = SvidgateError.from(caught);
        logger.error({ error_code: code, reason: describeError(caught) }, 'telemetry request failed');
        return json({ error: { code, message } }, httpStatus);
      }
    },
  };
}

async function answer(request: Request, sources: TelemetrySources): Promise<Response> {
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const path = isRead ? new URL(request.url).pathname : '';
  switch (path) {
    case '/metrics':
      return await metrics(sources);
    case '/live':
      return json({ live: true }, 200);
    case '/ready':
      return readiness(sources.readiness());
    default:
      return json({ error: { code: 'not_found', message: 'no such page' } }, 404);
  }
}

async function metrics(sources: TelemetrySources): Promise<Response> {
  const { contentType, body } = await sources.render();
  return new Response(body, { headers: { 'content-type': contentType, ...NO_STORE } });
}

function readiness(checks: readonly ReadinessCheck[]): Response {
  const ready = checks.every((check) => check.problem === undefined);
  const named = Object.fromEntries(checks.map((check) => [check.name, check.problem ?? 'ok']));
  const noted = checks.flatMap(({ name, note }) => (note === undefined ? [] : [[name, note] as const]));
  const notes = noted.length === 0 ? {} : { notes: Object.fromEntries(noted) };
  return json({ ready, checks: named, ...notes }, ready ? 200 : 503);
}

function json(body: object, status: number): Response {
  return Response.json(body, { status, headers: NO_STORE });
}
