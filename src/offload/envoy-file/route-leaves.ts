import type { EnvoyNode } from './envoy-node.ts';

/** One way a request may take, with what is said for its filters: of the least specific place first. */
export interface RouteLeaf {
  readonly node: EnvoyNode;
  /** Values of `typed_per_filter_config`. */
  readonly overrides: readonly EnvoyNode[];
}

const ROUTE = 'envoy.config.route.v3.Route';
const ROUTES = 'envoy.config.route.v3.RouteList';

/** Every route of a route configuration, once for each of its weighted clusters. */
export function routeLeaves(config: EnvoyNode): readonly RouteLeaf[] {
  const above = ownOverrides(config);
  return config.at('virtual_hosts').elements.flatMap((host) => {
    const overrides = [...above, ...ownOverrides(host)];
    const matched = routesOfMatcher(host.at('matcher'));
    return [...host.at('routes').elements, ...matched].flatMap((route) => leavesOf(route, overrides));
  });
}

function leavesOf(route: EnvoyNode, above: readonly EnvoyNode[]): readonly RouteLeaf[] {
  const overrides = [...above, ...ownOverrides(route)];
  const clusters = route.at('route', 'weighted_clusters', 'clusters').elements;
  if (clusters.length === 0) return [{ node: route, overrides }];
  return clusters.map((cluster) => ({ node: cluster, overrides: [...overrides, ...ownOverrides(cluster)] }));
}

function ownOverrides(node: EnvoyNode): readonly EnvoyNode[] {
  const own = node.at('typed_per_filter_config');
  return own.isSet ? [own] : [];
}

/** Routes that a matcher of a virtual host chooses among. */
function routesOfMatcher(node: EnvoyNode): readonly EnvoyNode[] {
  const { type, node: message } = node.message;
  if (type === ROUTE) return [message];
  if (type === ROUTES) return message.at('routes').elements;
  return [...node.elements, ...node.entries.map(([, each]) => each)].flatMap(routesOfMatcher);
}

/** What matchers of virtual hosts do that is no route which routeLeaves has. */
export function unknownActions(config: EnvoyNode): readonly EnvoyNode[] {
  return config.at('virtual_hosts').elements.flatMap((host) => unknownIn(host.at('matcher')));
}

function unknownIn(node: EnvoyNode): readonly EnvoyNode[] {
  const { type } = node.message;
  if (type === ROUTE || type === ROUTES) return [];
  const action = node.at('action');
  const isKnown = [ROUTE, ROUTES].includes(action.at('typed_config').message.type);
  const below = [...node.elements, ...node.entries.map(([, each]) => each)].flatMap(unknownIn);
  return action.isSet && !isKnown ? [action, ...below] : below;
}
