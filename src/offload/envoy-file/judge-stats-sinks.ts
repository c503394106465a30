import type { EnvoyNode } from './envoy-node.ts';
import type { Findings } from './findings.ts';

const METRICS = 'envoy.config.metrics.v3.MetricsServiceConfig';
/** Without the filter's own counters nobody knows what the access log lost. */
export function judgeStatsSinks(root: EnvoyNode, findings: Findings): void {
  const sinks = root.at('stats_sinks').elements.map((sink) => sink.at('typed_config').message);
  const sink = sinks.find(({ type }) => type === METRICS);
  if (sink === undefined) {
    const remedy = 'add the stats sink of docs/offload.md';
    findings.note(root, 'how many requests that need no call were not recorded stays unknown', remedy);
    return;
  }
  for (const field of ['report_counters_as_deltas', 'emit_tags_as_labels', 'batch_size']) {
    const given = sink.node.at(field);
    if (!given.isSet || given.value === false || given.value === 0) continue;
    findings.note(given, `\`${field}\` keeps svidgate from counting what was lost`, 'leave it out');
  }
}
