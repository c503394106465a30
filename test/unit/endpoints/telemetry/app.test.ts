import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createTelemetryApp, type ReadinessCheck } from '../../../../src/endpoints/telemetry/index.ts';

function appWith(checks: readonly ReadinessCheck[]) {
  return createTelemetryApp({
    render: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' }),
    readiness: () => checks,
  });
}

describe('the telemetry listener', () => {
  const POLICY_MISSING: readonly ReadinessCheck[] = [
    { name: 'authority' },
    { name: 'policy:default', problem: 'no live policy' },
  ];
  const CASES: readonly {
    readonly what: string;
    readonly checks: readonly ReadinessCheck[];
    readonly method?: string;
    readonly path: string;
    readonly status: number;
    readonly body: unknown;
  }[] = [
    { what: 'is live when nothing is ready', checks: POLICY_MISSING, path: '/live', status: 200, body: { live: true } },
    {
      what: 'is ready when every check holds',
      checks: [{ name: 'authority' }, { name: 'policy:default' }],
      path: '/ready',
      status: 200,
      body: { ready: true, checks: { authority: 'ok', 'policy:default': 'ok' } },
    },
    {
      what: 'is not ready when one check does not hold, and names all',
      checks: POLICY_MISSING,
      path: '/ready',
      status: 503,
      body: { ready: false, checks: { authority: 'ok', 'policy:default': 'no live policy' } },
    },
    {
      what: 'answers another path with 404',
      checks: [],
      path: '/metrics/x',
      status: 404,
      body: { error: { code: 'not_found', message: 'no such page' } },
    },
    {
      what: 'answers another method with 404',
      checks: [],
      method: 'POST',
      path: '/ready',
      status: 404,
      body: { error: { code: 'not_found', message: 'no such page' } },
    },
  ];
  for (const { what, checks, method = 'GET', path, status, body } of CASES) {
    it(what, async () => {
      const response = await appWith(checks).fetch(new Request(`http://localhost${path}`, { method }));
      assert.equal(response.status, status);
      assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
      assert.equal(response.headers.get('cache-control'), 'no-store');
      assert.deepEqual(await response.json(), body);
    });
  }

  it('hands out the metrics as they were rendered', async () => {
    const response = await appWith([]).fetch(new Request('http://localhost/metrics?x=1'));
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4');
    assert.equal(await response.text(), 'up 1\n');
  });

  it('answers an error with its code, and keeps the cause to itself', async () => {
    const reasons: (string | undefined)[] = [];
    const error = (fields: { readonly reason?: string }): void => void reasons.push(fields.reason);
    const nothing = (): void => undefined;
    const logger = { debug: nothing, info: nothing, warn: nothing, error, child: () => logger };
    const app = createTelemetryApp({
      render: () => Promise.reject(new Error('the cause')),
      readiness: () => [],
      logger,
    });
    const response = await app.fetch(new Request('http://localhost/metrics'));
    assert.equal(response.status, 500);
    assert.deepEqual(await response.json(), { error: { code: 'internal', message: 'internal error' } });
    assert.deepEqual(reasons, ['the cause']);
  });
});
