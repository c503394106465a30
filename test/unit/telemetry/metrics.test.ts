import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { METRIC_CATALOGUE } from '../../../src/core/index.ts';
import { createMetrics } from '../../../src/telemetry/index.ts';

describe('createMetrics', () => {
  it('registers every metric of the catalogue at once', async () => {
    const { contentType, body } = await createMetrics({ processMetrics: false }).render();
    assert.match(contentType, /^text\/plain/);
    for (const [name, { kind, help }] of Object.entries(METRIC_CATALOGUE)) {
      assert.ok(body.includes(`# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n`), name);
    }
  });

  it('counts, sets and observes', async () => {
    const metrics = createMetrics({ processMetrics: false });
    metrics.count('svidgate_attestations_total', { result: 'ok' });
    metrics.count('svidgate_attestations_total', { result: 'ok' }, 2);
    metrics.gauge('svidgate_entries', {}, 3);
    metrics.observe('svidgate_authz_decision_seconds', { policy: 'default' }, 0.002);
    const { body } = await metrics.render();
    for (const line of [
      'svidgate_attestations_total{result="ok"} 3',
      'svidgate_entries 3',
      'svidgate_authz_decision_seconds_bucket{le="0.001",policy="default"} 0',
      'svidgate_authz_decision_seconds_bucket{le="0.0025",policy="default"} 1',
      'svidgate_authz_decision_seconds_count{policy="default"} 1',
    ]) {
      assert.ok(body.split('\n').includes(line), line);
    }
  });

  it('shows a counter without labels as zero and a gauge not before it is set', async () => {
    const { body } = await createMetrics({ processMetrics: false }).render();
    assert.match(body, /^svidgate_sds_pushes_total 0$/m);
    assert.doesNotMatch(body, /^svidgate_authority_expiry_seconds /m);
  });

  it('keeps registries apart', async () => {
    const one = createMetrics({ processMetrics: false });
    const other = createMetrics({ processMetrics: false });
    one.count('svidgate_sds_pushes_total', {});
    assert.match((await one.render()).body, /^svidgate_sds_pushes_total 1$/m);
    assert.match((await other.render()).body, /^svidgate_sds_pushes_total 0$/m);
  });

  it('adds the metrics of the process', async () => {
    const { body } = await createMetrics().render();
    for (const name of ['process_resident_memory_bytes', 'process_open_fds', 'nodejs_eventloop_lag_seconds']) {
      assert.match(body, new RegExp(`^${name} [0-9.e+-]+$`, 'm'));
    }
  });
});
