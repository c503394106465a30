import type { EnvoyNode } from './envoy-node.ts';
import type { Findings } from './findings.ts';

const METRICS = 'envoy.config.metrics.v3.MetricsServiceConfig';
/** Of RE2 programs. That a certificate has one URI SAN and no other is a regular expression of some seven steps a character. */
const PROGRAM_SIZE = 10_000;
const PROGRAM_KEY = ['re2', 'max_program_size', 'error_level'];

/** What all of an Envoy with offload needs. */
export function judgeBootstrap(root: EnvoyNode, findings: Findings): void {
  judgeRegexes(root, findings);
  judgeSinks(root, findings);
}

function judgeRegexes(root: EnvoyNode, findings: Findings): void {
  const layers = root.at('layered_runtime', 'layers').elements;
  const found = layers.map((layer) => layerValue(layer.at('static_layer'))).findLast((value) => value !== undefined);
  if (typeof found?.value === 'number' && found.value >= PROGRAM_SIZE) return;
  const remedy = `add to layered_runtime.layers: { name: re2, static_layer: { ${PROGRAM_KEY.join('.')}: 1000000 } }`;
  const message = `Envoy refuses rules with larger regular expressions than \`${PROGRAM_KEY.join('.')}\`, 100 by itself`;
  const isSeen = layers.every((layer) => layer.at('static_layer').isSet || layer.at('admin_layer').isSet);
  if (found === undefined && !isSeen) findings.note(root.at('layered_runtime'), message, remedy);
  else findings.refuse(found ?? root, message, remedy);
}

/** Its keys may be nested, or have dots. */
function layerValue(layer: EnvoyNode): EnvoyNode | undefined {
  const [first = '', second = '', third = ''] = PROGRAM_KEY;
  const places = [
    layer.entry(`${first}.${second}.${third}`),
    layer.entry(`${first}.${second}`).entry(third),
    layer.entry(first).entry(`${second}.${third}`),
    layer.entry(first).entry(second).entry(third),
  ];
  return places.find(({ isSet }) => isSet);
}

/** Without the filter's own counters nobody knows what the access log lost. */
function judgeSinks(root: EnvoyNode, findings: Findings): void {
  const sinks = root.at('stats_sinks').elements.map((sink) => sink.at('typed_config').message);
  const sink = sinks.find(({ type }) => type === METRICS);
  if (sink === undefined) {
    const remedy = 'add the stats sink of docs/offload.md';
    findings.note(root, 'how many requests that need no call were not recorded stays unknown', remedy);
    return;
  }
  for (const field of ['report_counters_as_deltas', 'emit_tags_as_labels']) {
    const given = sink.node.at(field);
    if (!given.isSet || given.value === false) continue;
    findings.note(given, `\`${field}\` keeps svidgate from counting what was lost`, 'leave it out');
  }
}
