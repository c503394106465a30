import { OFFLOAD_NAMES } from '../offload-rules.ts';
import type { EnvoyNode } from './envoy-node.ts';
import type { FilterPair } from './filter-pairs.ts';
import type { Findings } from './findings.ts';

/** Fields that change nothing of which request is called for, and nothing of what the gate sees of it. */
const HARMLESS = [
  'transport_api_version',
  'grpc_service',
  'failure_mode_allow_header_add',
  'with_request_body',
  'status_on_error',
  'metadata_context_namespaces',
  'typed_metadata_context_namespaces',
  'route_metadata_context_namespaces',
  'route_typed_metadata_context_namespaces',
  'stat_prefix',
  'bootstrap_metadata_labels_key',
  'charge_cluster_response_stats',
  'decoder_header_mutation_rules',
  'validate_mutations',
  'enable_dynamic_metadata_ingestion',
  'filter_metadata',
  'emit_filter_state_stats',
  'max_denied_response_body_bytes',
  'enforce_response_header_limits',
];

/** Judged below. */
const JUDGED = ['filter_enabled_metadata', 'clear_route_cache'];

/** Fields that have to be true, with what happens when they are not. */
const NEEDED: Readonly<Record<string, string>> = {
  include_peer_certificate: 'the gate would take no peer for verified, and deny what Envoy lets through',
  include_tls_session: 'the gate would not see the server name that Envoy matches',
};

/** Fields that must not be there, with what happens when they are. */
const UNSAFE: Readonly<Record<string, string>> = {
  failure_mode_allow: 'requests pass without any decision when svidgate is away',
  filter_enabled: 'requests are let through that neither Envoy nor the gate has judged',
  shadow_mode: 'what the gate denies is let through',
  deny_at_disable: 'what needs no call would be denied',
  allowed_headers: 'the gate sees other headers than Envoy matches',
  disallowed_headers: 'the gate sees other headers than Envoy matches',
  encode_raw_headers: 'the gate sees headers in another form than Envoy matches',
  http_service: 'svidgate judges an offloaded policy by gRPC only',
};

/** That the ext_authz filter skips exactly what the RBAC filter before it marks, and is asked about all else. */
export function judgeExtAuthz(pair: FilterPair, findings: Findings): void {
  const { node, name, config } = pair.authz;
  if (node.at('is_optional').isSet && node.at('is_optional').value !== false) {
    findings.refuse(node.at('is_optional'), `\`${name}\` may be left out by Envoy`, 'remove `is_optional`');
  }
  for (const [field, why] of Object.entries(UNSAFE)) {
    const given = config.at(field);
    // A `yes` is true for Envoy, too.
    if (!given.isSet || (given.value === false && !field.endsWith('headers'))) continue;
    findings.refuse(given, `\`${name}\` has \`${field}\`: ${why}`, `remove \`${field}\``);
  }
  for (const [field, why] of Object.entries(NEEDED)) {
    if (config.at(field).value === true) continue;
    const place = config.at(field).isSet ? config.at(field) : config;
    findings.refuse(place, `\`${name}\` lacks \`${field}: true\`: ${why}`, 'add it');
  }
  const known = [...HARMLESS, ...JUDGED, ...Object.keys(NEEDED), ...Object.keys(UNSAFE)];
  for (const field of config.fields) {
    if (known.includes(field)) continue;
    const remedy = 'leave it out';
    findings.refuse(config.at(field), `\`${field}\` of \`${name}\` is not known to be safe with offload`, remedy);
  }
  if (config.at('with_request_body').isSet) {
    findings.note(
      config.at('with_request_body'),
      `\`${name}\` buffers bodies: requests that need no call are not buffered, and not bounded by max_request_bytes`,
      'bound bodies by a buffer filter where the service relies on it',
    );
  }
  judgeMatcher(config.at('filter_enabled_metadata'), pair, findings);
}

function judgeMatcher(matcher: EnvoyNode, { policy, authz }: FilterPair, findings: Findings): void {
  const key = OFFLOAD_NAMES.resultKey(policy);
  const path = matcher.at('path');
  const isKey = path.elements.length === 1 && path.elements[0]?.at('key').text === key;
  const wrong: readonly (readonly [boolean, EnvoyNode, string, string])[] = [
    [
      matcher.at('filter').text === OFFLOAD_NAMES.metadataNamespace,
      matcher.at('filter'),
      'filter',
      `write \`filter: ${OFFLOAD_NAMES.metadataNamespace}\``,
    ],
    [isKey, path, 'path', `write \`path: [{ key: ${key} }]\``],
    [
      isExactly(matcher.at('value'), 'string_match') &&
        isExactly(matcher.at('value', 'string_match'), 'exact') &&
        matcher.at('value', 'string_match', 'exact').text === 'allowed',
      matcher.at('value'),
      'value',
      'write `value: { string_match: { exact: allowed } }`',
    ],
    [
      matcher.at('invert').value === true,
      matcher.at('invert'),
      'invert',
      'write `invert: true`: without it, only what needs no call is called for',
    ],
  ];
  for (const [isRight, given, field, remedy] of wrong) {
    if (isRight) continue;
    const message = `\`filter_enabled_metadata.${field}\` of \`${authz.name}\` is not that of policy \`${policy}\``;
    findings.refuse(given.isSet ? given : matcher, message, remedy);
  }
  const others = matcher.fields.filter((field) => !['filter', 'path', 'value', 'invert'].includes(field));
  for (const field of others) {
    const message = `\`filter_enabled_metadata\` of \`${authz.name}\` has \`${field}\``;
    findings.refuse(matcher.at(field), message, 'remove it');
  }
}

function isExactly(node: EnvoyNode, field: string): boolean {
  return node.fields.length === 1 && node.fields[0] === field;
}
