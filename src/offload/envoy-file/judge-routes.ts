import { OFFLOAD_NAMES } from '../offload-rules.ts';
import type { EnvoyNode, TypedMessage } from './envoy-node.ts';
import { EXT_AUTHZ, type ChainFilter, type FilterChain, type FilterPair } from './filter-pairs.ts';
import { routesOf } from './find-routes.ts';
import type { Findings } from './findings.ts';
import { clearsRoute, isRouteDependent, writerProblem } from './judge-other-filters.ts';
import { judgeRewrites } from './judge-rewrites.ts';
import { routeLeaves, unknownActions, type RouteLeaf } from './route-leaves.ts';

const FILTER_CONFIG = 'envoy.config.route.v3.FilterConfig';
const AUTHZ_PER_ROUTE = 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute';
/** Names that Envoy once found filters by, whatever they are called. */
const TYPE_NAMES = ['envoy.filters.http.rbac', 'envoy.filters.http.ext_authz'];
const POLICY = 'svidgate.policy';
/** Of the gate, where a request names none. */
const DEFAULT_POLICY = 'default';

/** That no route sends requests past a pair, and that both filters of a pair judge by the same policy. */
export function judgeRoutes(
  manager: EnvoyNode,
  { filters, pairs }: FilterChain,
  { findings, routeConfigs }: { readonly findings: Findings; readonly routeConfigs: ReadonlyMap<string, EnvoyNode> },
): void {
  const { configs, unseen } = routesOf(manager, routeConfigs);
  // What no route turns on is open.
  const tell = pairs.some(({ rbac, authz }) => rbac.isDisabled || authz.isDisabled) ? 'refuse' : 'note';
  for (const node of unseen) {
    findings[tell](
      node,
      'routes that come by discovery are not judged: they may turn filters off, or name another policy',
      'check them in a file of their own, with one more --envoy',
    );
  }
  for (const config of configs) {
    judgeRewrites(config, filters, findings);
    for (const action of unknownActions(config)) {
      findings.refuse(action, 'a matcher whose action is neither a Route nor a RouteList', 'write one of the two');
    }
    for (const overrides of perFilterConfigs(config)) judgeOverrides(overrides, { filters, pairs }, findings);
    for (const leaf of routeLeaves(config)) judgeLeaf(leaf, { filters, pairs }, findings);
  }
}

/** That filters of upgrades, or those beside them, have a gate where others have an offload. */
export function judgeGateAlone(
  manager: EnvoyNode,
  { list, filters }: { readonly list: EnvoyNode; readonly filters: readonly ChainFilter[] },
  { findings, routeConfigs }: { readonly findings: Findings; readonly routeConfigs: ReadonlyMap<string, EnvoyNode> },
): void {
  if (filters.length === 0) return;
  if (!filters.some(({ types }) => types.includes(EXT_AUTHZ))) {
    const message = 'filters without ext_authz beside those of the offload: what goes through them has no decision';
    findings.refuse(list, message, 'write the filters of the offload here, too');
    return;
  }
  for (const config of routesOf(manager, routeConfigs).configs) {
    for (const leaf of routeLeaves(config)) judgeGate(leaf, { filters, pairs: [] }, findings);
  }
}

/** Wherever routes may say something about filters, also where routeLeaves does not look. */
function perFilterConfigs(node: EnvoyNode): readonly EnvoyNode[] {
  const own = node.at('typed_per_filter_config');
  const below = [...node.elements, ...node.entries.map(([, each]) => each)].flatMap(perFilterConfigs);
  return own.isSet ? [own, ...below] : below;
}

function judgeOverrides(overrides: EnvoyNode, { filters, pairs }: FilterChain, findings: Findings): void {
  for (const [name, node] of overrides.entries) {
    const pair = pairs.find(({ rbac, authz }) => rbac.name === name || authz.name === name);
    if (pair !== undefined) {
      if (pair.rbac.name === name) judgeRbacOverride({ name, node }, pair, findings);
      else judgeAuthzOverride({ name, node }, pair, findings);
      continue;
    }
    const filter = filters.find((each) => each.name === name);
    if (filter === undefined && TYPE_NAMES.includes(name)) {
      const remedy = 'name the filter as the chain does, or remove it';
      findings.refuse(node, `no filter of the chain is called \`${name}\``, remedy);
    }
    if (isRouteDependent(pairs) && clearsRoute(node)) {
      findings.refuse(node, `a route has \`${name}\` choose another one`, 'remove `clear_route_cache`');
    }
    const message = unwrap(node.message);
    const why = filter === undefined || message === undefined ? undefined : writerProblem(message);
    if (why !== undefined && isBeforeLast(filter, { filters, pairs })) {
      findings.refuse(node, `a route changes \`${name}\`, before the offload: ${why}`, 'remove it from the routes');
    }
  }
}

function isBeforeLast(filter: ChainFilter | undefined, { filters, pairs }: FilterChain): boolean {
  const last = pairs.at(-1);
  return filter !== undefined && last !== undefined && filters.indexOf(filter) < filters.indexOf(last.authz);
}

interface Override {
  readonly name: string;
  readonly node: EnvoyNode;
}

/** It may turn the filter off, which costs calls only, or on. Rules of a route's own are nobody's policy. */
function judgeRbacOverride({ name, node }: Override, pair: FilterPair, findings: Findings): void {
  const { type, node: config } = node.message;
  const isEmpty = unwrap({ type, node: config }) === undefined;
  if (type === FILTER_CONFIG && isEmpty) return;
  findings.refuse(
    node,
    `a route changes \`${name}\`: its rules are not those that svidgate sends for policy \`${pair.policy}\``,
    `remove it; where the filter is disabled, \`{ '@type': type.googleapis.com/${FILTER_CONFIG}, config: {} }\` turns it on`,
  );
}

function judgeAuthzOverride({ name, node }: Override, { authz }: FilterPair, findings: Findings): void {
  const outer = node.message;
  const isOff = outer.type === FILTER_CONFIG && isTrue(outer.node.at('disabled'));
  const inner = unwrap(outer);
  if (isOff && authz.isDisabled) return;
  if (isOff || (inner !== undefined && isTrue(inner.node.at('disabled')))) {
    const remedy = 'remove it, or have `disabled: true` in the chain and turn both filters on where they are meant';
    findings.refuse(node, `a route turns \`${name}\` off: its requests pass without a decision`, remedy);
    return;
  }
  if (inner === undefined) return;
  const settings = inner.node.at('check_settings');
  const extra = [
    ...inner.node.fields.filter((field) => !['check_settings', 'disabled'].includes(field)),
    ...settings.fields.filter((field) => !['context_extensions', 'disable_request_body_buffering'].includes(field)),
  ];
  if (inner.type === AUTHZ_PER_ROUTE && extra.length === 0) return;
  const what = inner.type === AUTHZ_PER_ROUTE ? `\`${extra.join('`, `')}\`` : 'what is no ExtAuthzPerRoute';
  findings.refuse(node, `a route gives \`${name}\` ${what}`, 'have it say `check_settings.context_extensions` alone');
}

/** What a route says for a filter: undefined where it only turns it on or off. */
function unwrap(message: TypedMessage): TypedMessage | undefined {
  if (message.type !== FILTER_CONFIG) return message;
  const config = message.node.at('config');
  return config.fields.length === 0 && config.message.type === '' ? undefined : config.message;
}

function isTrue(node: EnvoyNode): boolean {
  return node.isSet && node.value !== false;
}

/** What holds for one filter on one route. */
interface OnRoute {
  readonly isOn: boolean;
  readonly policy: string;
}

function onRoute({ name, isDisabled }: ChainFilter, { overrides }: RouteLeaf): OnRoute {
  let [isOn, isSkipped, policy] = [!isDisabled, false, DEFAULT_POLICY];
  for (const each of overrides) {
    const given = each.entry(name);
    if (!given.isSet) continue;
    const { type, node } = given.message;
    isOn = !(type === FILTER_CONFIG && isTrue(node.at('disabled')));
    const own = unwrap(given.message);
    if (own === undefined) continue;
    isSkipped = isTrue(own.node.at('disabled'));
    policy = own.node.at('check_settings', 'context_extensions').entry(POLICY).text ?? policy;
  }
  return { isOn: isOn && !isSkipped, policy };
}

function judgeLeaf(leaf: RouteLeaf, { filters, pairs }: FilterChain, findings: Findings): void {
  for (const { policy, rbac, authz } of pairs) {
    const asked = onRoute(authz, leaf);
    if (!onRoute(rbac, leaf).isOn || !asked.isOn || asked.policy === policy) continue;
    const at = leaf.overrides.findLast((each) => each.entry(authz.name).isSet)?.entry(authz.name) ?? leaf.node;
    findings.refuse(
      at,
      `\`${authz.name}\` asks for policy \`${asked.policy}\` here, and \`${rbac.name}\` lets through by policy \`${policy}\``,
      `write \`context_extensions: { ${POLICY}: ${policy} }\`, or use \`${OFFLOAD_NAMES.resource(asked.policy)}\``,
    );
  }
  judgeGate(leaf, { filters, pairs }, findings);
}

function judgeGate(leaf: RouteLeaf, { filters, pairs }: FilterChain, findings: Findings): void {
  const gates = filters.filter(({ types }) => types.includes(EXT_AUTHZ));
  if (gates.some((gate) => onRoute(gate, leaf).isOn)) return;
  // Where that of a pair is on by default, what turned it off is refused; so is a chain with none.
  if (gates.length === 0 || pairs.some(({ authz }) => !authz.isDisabled)) return;
  findings.refuse(
    leaf.node,
    'no ext_authz filter is on for this route: its requests pass without a decision',
    'turn on the two filters of a policy in `typed_per_filter_config`',
  );
}
