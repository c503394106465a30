import { OFFLOAD_NAMES, policyOfResource } from '../offload-rules.ts';
import type { EnvoyNode } from './envoy-node.ts';
import type { Findings } from './findings.ts';

/** One HTTP filter of a chain. */
export interface ChainFilter {
  readonly node: EnvoyNode;
  readonly name: string;
  /** Types it may have: several where it comes by discovery, which may say more than one. */
  readonly types: readonly string[];
  /** Of a filter that stands in the file. */
  readonly config: EnvoyNode;
  /** Not there unless a route turns it on. */
  readonly isDisabled: boolean;
}

/** The two filters of one policy: RBAC that marks what needs no call, and ext_authz that calls for the rest. */
export interface FilterPair {
  readonly policy: string;
  readonly rbac: ChainFilter;
  readonly authz: ChainFilter;
}

export interface FilterChain {
  readonly filters: readonly ChainFilter[];
  readonly pairs: readonly FilterPair[];
}

export const RBAC = 'envoy.extensions.filters.http.rbac.v3.RBAC';
export const EXT_AUTHZ = 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz';

export function readFilters(list: EnvoyNode): readonly ChainFilter[] {
  return list.elements.map((node) => {
    const { type, node: config } = node.at('typed_config').message;
    const discovered = node.at('config_discovery', 'type_urls').elements.map(({ text }) => text ?? '');
    const types = node.at('config_discovery').isSet
      ? discovered.map((url) => url.slice(url.lastIndexOf('/') + 1))
      : [type];
    const disabled = node.at('disabled');
    return {
      node,
      name: node.at('name').text ?? '',
      types,
      config,
      isDisabled: disabled.isSet && disabled.value !== false,
    };
  });
}

/** Whether a filter chain has anything of the offload. */
export function hasOffload(filters: readonly ChainFilter[]): boolean {
  return filters.some((filter) => policyOfResource(filter.name) !== undefined || asksOffload(filter));
}

/** Whether it is called only where the RBAC filter says so. */
export function asksOffload({ types, config }: ChainFilter): boolean {
  const matcher = config.at('filter_enabled_metadata');
  if (!types.includes(EXT_AUTHZ) || !matcher.isSet) return false;
  const key = matcher.at('path').elements[0]?.at('key').text ?? '';
  return matcher.at('filter').text === OFFLOAD_NAMES.metadataNamespace || key.startsWith('svidgate_');
}

/** The pairs of a chain. What is no pair, or stands between its two filters, is refused. */
export function findPairs(filters: readonly ChainFilter[], findings: Findings): readonly FilterPair[] {
  const pairs: FilterPair[] = [];
  let open: { readonly policy: string; readonly rbac: ChainFilter; readonly index: number } | undefined;
  for (const [index, filter] of filters.entries()) {
    const policy = policyOfResource(filter.name);
    if (policy !== undefined) {
      if (open !== undefined) refuseLone(open.rbac, filters[open.index + 1], findings);
      open = { policy, rbac: filter, index };
    } else if (asksOffload(filter)) {
      if (open === undefined) refuseUnmarked(filter, findings);
      else {
        for (const between of filters.slice(open.index + 1, index)) refuseBetween(between, open.policy, findings);
        pairs.push({ policy: open.policy, rbac: open.rbac, authz: filter });
      }
      open = undefined;
    }
  }
  if (open !== undefined) refuseLone(open.rbac, filters[open.index + 1], findings);
  refuseTwice(pairs, findings);
  return pairs;
}

function refuseBetween({ node, name }: ChainFilter, policy: string, findings: Findings): void {
  findings.refuse(
    node,
    `\`${name}\` stands between the RBAC filter and the ext_authz filter of policy \`${policy}\``,
    'move it before the RBAC filter or behind ext_authz: what it changes, the one has not seen',
  );
}

function refuseUnmarked({ node, name }: ChainFilter, findings: Findings): void {
  findings.refuse(
    node,
    `\`${name}\` has \`filter_enabled_metadata\`, and no RBAC filter before it is svidgate's`,
    `put the filter \`${OFFLOAD_NAMES.resource('POLICY')}\` directly before it`,
  );
}

function refuseLone({ node, name }: ChainFilter, next: ChainFilter | undefined, findings: Findings): void {
  const isAuthz = next?.types.includes(EXT_AUTHZ) === true;
  findings.refuse(
    isAuthz ? next.node : node,
    isAuthz
      ? `\`${next.name}\` does not ask what \`${name}\` found, so that every request is a call`
      : `\`${name}\` is followed by no ext_authz filter that asks what it found`,
    'give the ext_authz filter directly behind it the `filter_enabled_metadata` of docs/offload.md',
  );
}

function refuseTwice(pairs: readonly FilterPair[], findings: Findings): void {
  for (const [index, { policy, rbac }] of pairs.entries()) {
    if (pairs.findIndex((each) => each.policy === policy) === index) continue;
    const message = `policy \`${policy}\` has two filter pairs in one chain: the second reads what the first wrote`;
    findings.refuse(rbac.node, message, 'keep one of them');
  }
}
