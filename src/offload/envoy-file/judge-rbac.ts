import { OFFLOAD_NAMES } from '../offload-rules.ts';
import type { EnvoyNode } from './envoy-node.ts';
import { RBAC, type FilterPair } from './filter-pairs.ts';
import type { Findings } from './findings.ts';

/** What may stand in the configuration that holds until svidgate sends rules. */
const WITHOUT_RULES = ['shadow_rules_stat_prefix', 'rules_stat_prefix', 'track_per_rule_stats'];

/** That the RBAC filter has no rules but those that svidgate sends, and waits for none. */
export function judgeRbac({ policy, rbac }: FilterPair, findings: Findings): void {
  const { node, name, types } = rbac;
  const discovery = node.at('config_discovery');
  if (!discovery.isSet) {
    findings.refuse(
      node,
      `\`${name}\` has rules of its own: nothing takes them back when a SPIFFE ID is revoked`,
      'give it `config_discovery`, so that svidgate sends its rules, and no `typed_config`',
    );
    return;
  }
  if (types.length !== 1 || types[0] !== RBAC) {
    const urls = discovery.at('type_urls');
    const remedy = `write [type.googleapis.com/${RBAC}]`;
    findings.refuse(urls, `\`type_urls\` of \`${name}\` is not the RBAC filter alone`, remedy);
  }
  if (discovery.at('apply_default_config_without_warming').value !== true) {
    findings.refuse(
      discovery,
      `\`${name}\` lacks \`apply_default_config_without_warming: true\`: without svidgate the listener does not start`,
      'add it',
    );
  }
  if (clusterOf(discovery.at('config_source')) === undefined) {
    const remedy =
      'name the cluster of the workload socket in `api_config_source`, with `api_type: GRPC`, or use `ads`';
    findings.refuse(discovery.at('config_source'), `the rules of \`${name}\` do not come by gRPC`, remedy);
  }
  judgeDefault(discovery.at('default_config'), { policy, name }, findings);
}

function judgeDefault(
  given: EnvoyNode,
  { policy, name }: { readonly policy: string; readonly name: string },
  findings: Findings,
): void {
  const remedy = `write \`default_config: { '@type': type.googleapis.com/${RBAC} }\``;
  const { type, node } = given.message;
  if (!given.isSet || type !== RBAC) {
    findings.refuse(given, `\`${name}\` has no \`default_config\` that is an RBAC filter`, remedy);
    return;
  }
  for (const field of node.fields) {
    if (!WITHOUT_RULES.includes(field)) {
      const message = `\`default_config\` of \`${name}\` has \`${field}\`: that would hold while svidgate is away`;
      findings.refuse(node.at(field), message, remedy);
    }
  }
  const prefix = node.at('shadow_rules_stat_prefix');
  if (prefix.isSet && prefix.text !== OFFLOAD_NAMES.shadowPrefix(policy)) {
    findings.refuse(
      prefix,
      `\`shadow_rules_stat_prefix\` is not that of policy \`${policy}\``,
      `write ${OFFLOAD_NAMES.shadowPrefix(policy)}, or leave it out`,
    );
  }
}

/** The cluster that a config source asks by gRPC; `ads` for the one of the bootstrap; undefined for files and REST. */
export function clusterOf(source: EnvoyNode): string | undefined {
  if (source.at('ads').isSet) return 'ads';
  const api = source.at('api_config_source');
  if (!['GRPC', 'DELTA_GRPC'].includes(api.at('api_type').text ?? '')) return undefined;
  return api.at('grpc_services').elements[0]?.at('envoy_grpc', 'cluster_name').text;
}
