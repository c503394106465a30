import { OFFLOAD_NAMES } from '../offload-rules.ts';
import type { EnvoyNode, TypedMessage } from './envoy-node.ts';
import { RBAC, type ChainFilter, type FilterChain } from './filter-pairs.ts';
import type { Findings } from './findings.ts';

/** Filters of envoy.extensions.filters.http that write metadata under their own name, or none. */
const KEEP_TO_THEIR_OWN = new Set([
  'adaptive_concurrency',
  'admission_control',
  'alternate_protocols_cache',
  'api_key_auth',
  'bandwidth_limit',
  'basic_auth',
  'buffer',
  'cdn_loop',
  'compressor',
  'connect_grpc_bridge',
  'cors',
  'credential_injector',
  'csrf',
  'decompressor',
  'dynamic_forward_proxy',
  'ext_authz',
  'fault',
  'geoip',
  'grpc_http1_bridge',
  'grpc_http1_reverse_bridge',
  'grpc_json_transcoder',
  'grpc_stats',
  'grpc_web',
  'header_mutation',
  'health_check',
  'ip_tagging',
  'jwt_authn',
  'kill_request',
  'local_ratelimit',
  'oauth2',
  'original_src',
  'ratelimit',
  'set_filter_state',
  'stateful_session',
]);

/** Filters that write metadata where their configuration says. */
const WRITE_WHERE_TOLD = new Set(['ext_proc', 'header_to_metadata', 'json_to_metadata', 'set_metadata']);

/** Of these, those that always, or where they are told to, have the route chosen anew. */
const REROUTE = new Set([
  'connect_grpc_bridge',
  'ext_proc',
  'grpc_http1_bridge',
  'grpc_http1_reverse_bridge',
  'grpc_json_transcoder',
  'ip_tagging',
  'json_to_metadata',
]);

/** Filters that may do anything. */
const WRITE_ANYWHERE: Readonly<Record<string, string>> = {
  composite: 'it may run any filter',
  dynamic_modules: 'its code may write any metadata',
  filter_chain: 'it may run any filter',
  golang: 'its code may write any metadata',
  lua: 'its code may write any metadata',
  match_delegate: 'it may run any filter',
  wasm: 'its code may write any metadata',
};

const HTTP_FILTER = /^envoy\.extensions\.filters\.http\.(?<name>\w+)\.v\d+\w*\.\w+$/;
const BEHIND = 'put it behind the ext_authz filter, or leave it out of a listener with offload';

/**
 * That no filter before the last pair can say what only the RBAC filters of svidgate say. Where they have no rules they write
 * nothing, so that what was written before would count.
 */
export function judgeOtherFilters({ filters, pairs }: FilterChain, findings: Findings): void {
  const last = pairs.at(-1);
  const before = last === undefined ? [] : filters.slice(0, filters.indexOf(last.authz));
  for (const [index, filter] of before.entries()) {
    // What stands between the two is refused, whatever it does.
    if (pairs.some(({ rbac, authz }) => filters.indexOf(rbac) <= index && index <= filters.indexOf(authz))) continue;
    judgeFilter(filter, findings);
  }
  if (!isRouteDependent(pairs)) return;
  for (const filter of filters) {
    if (!pairs.some(({ rbac }) => rbac === filter) && mayReroute(filter)) refuseReroute(filter, findings);
  }
}

/** Whether routes choose among policies: then the route must be the same one throughout. */
export function isRouteDependent(pairs: FilterChain['pairs']): boolean {
  return pairs.length > 1 || pairs.some(({ rbac, authz }) => rbac.isDisabled || authz.isDisabled);
}

/** Filters without an effect on the choice of the route, but by `clear_route_cache`. */
function keepsRoute(type: string): boolean {
  const name = HTTP_FILTER.exec(type)?.groups?.['name'] ?? '';
  if (REROUTE.has(name)) return false;
  return KEEP_TO_THEIR_OWN.has(name) || WRITE_WHERE_TOLD.has(name) || name === 'rbac' || name === 'router';
}

function mayReroute({ node, config, types }: ChainFilter): boolean {
  return node.at('config_discovery').isSet || !types.every(keepsRoute) || clearsRoute(config);
}

/** Whether it, or anything in it, has `clear_route_cache`. */
export function clearsRoute(node: EnvoyNode): boolean {
  const given = node.at('clear_route_cache');
  if (given.isSet && given.value !== false) return true;
  return [...node.elements, ...node.entries.map(([, each]) => each)].some(clearsRoute);
}

function refuseReroute({ node, name }: ChainFilter, findings: Findings): void {
  findings.refuse(
    node,
    `\`${name}\` may have the route chosen anew, while the filters are those of the first one`,
    'take it out of a listener whose routes choose the policy, or have it keep the route',
  );
}

function judgeFilter({ node, name, config, types }: ChainFilter, findings: Findings): void {
  if (node.at('config_discovery').isSet) {
    const seen = types.filter((type) => !KEEP_TO_THEIR_OWN.has(HTTP_FILTER.exec(type)?.groups?.['name'] ?? ''));
    if (types.length > 0 && seen.length === 0) return;
    findings.refuse(node, `what \`${name}\` does is not in this file: it may write any metadata`, BEHIND);
    return;
  }
  const [type = ''] = types;
  const why = writerProblem({ type, node: config });
  if (why !== undefined) findings.refuse(node, `\`${name}\` stands before the offload: ${why}`, BEHIND);
}

/** Why a filter, or what a route says for it, may write the result of an offload; undefined where it cannot. */
export function writerProblem({ type, node }: TypedMessage): string | undefined {
  const name = HTTP_FILTER.exec(type)?.groups?.['name'];
  if (name === undefined) return `${type === '' ? 'it has no type' : type} is not known to leave metadata alone`;
  if (WRITE_ANYWHERE[name] !== undefined) return WRITE_ANYWHERE[name];
  if (name === 'rbac') return otherRbacProblem(type, node);
  if (KEEP_TO_THEIR_OWN.has(name)) return undefined;
  if (!WRITE_WHERE_TOLD.has(name)) return `${type} is not known to leave metadata alone`;
  const { metadataNamespace } = OFFLOAD_NAMES;
  return node.mentions(metadataNamespace) ? `it writes metadata of ${metadataNamespace}` : undefined;
}

function otherRbacProblem(type: string, node: EnvoyNode): string | undefined {
  const rules = type === RBAC ? node : node.at('rbac');
  const prefix = rules.at('shadow_rules_stat_prefix').text ?? '';
  return prefix.startsWith('svidgate_') ? `its shadow rules write what svidgate's write (${prefix})` : undefined;
}
