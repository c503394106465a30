import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { METRIC_CATALOGUE, type MetricName, type Metrics } from '../core/index.ts';

export interface RenderedMetrics {
  readonly contentType: string;
  readonly body: string;
}

export interface MetricsRegistry extends Metrics {
  /** All metrics in the Prometheus text format. */
  render(): Promise<RenderedMetrics>;
}

export interface MetricsOptions {
  /** Adds memory, CPU, file descriptors, garbage collection and event loop lag of this process. Default true. */
  readonly processMetrics?: boolean;
}

/**
 * The metrics of METRIC_CATALOGUE in a registry of their own, so that several can live in one process. A counter without
 * labels starts at zero; a gauge, and whatever has labels, appears when it is first set.
 */
export function createMetrics(options: MetricsOptions = {}): MetricsRegistry {
  const registry = new Registry();
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  for (const name of Object.keys(METRIC_CATALOGUE) as MetricName[]) {
    const entry = METRIC_CATALOGUE[name];
    const common = { name, help: entry.help, labelNames: [...entry.labels], registers: [registry] };
    switch (entry.kind) {
      case 'counter':
        counters.set(name, new Counter(common));
        break;
      case 'gauge':
        gauges.set(name, unsetGauge(new Gauge(common)));
        break;
      case 'histogram':
        histograms.set(name, new Histogram({ ...common, buckets: [...entry.buckets] }));
        break;
    }
  }
  if (options.processMetrics ?? true) collectDefaultMetrics({ register: registry });
  return {
    count: (name, labels, by = 1) => found(counters, name).inc(labels, by),
    gauge: (name, labels, value) => found(gauges, name).set(labels, value),
    observe: (name, labels, seconds) => found(histograms, name).observe(labels, seconds),
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  };
}

/** prom-client shows a gauge without labels as zero from the start, and an expiry of zero would raise an alert. */
function unsetGauge(gauge: Gauge): Gauge {
  gauge.remove({});
  return gauge;
}

function found<T>(metrics: ReadonlyMap<string, T>, name: string): T {
  const metric = metrics.get(name);
  if (metric === undefined) throw new TypeError(`${name} is not a metric of this kind`);
  return metric;
}
