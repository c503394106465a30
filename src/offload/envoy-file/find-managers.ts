import type { EnvoyNode } from './envoy-node.ts';

/** One HTTP connection manager of a file. */
export interface FoundManager {
  readonly manager: EnvoyNode;
  /** The filter chain of a listener that it stands in; absent where nothing says how its connections come. */
  readonly chain?: EnvoyNode;
}

const MANAGER = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const ROUTES = 'envoy.config.route.v3.RouteConfiguration';

/** Every connection manager of a file, wherever it stands: bootstrap, listeners of LDS, API listeners. */
export function findManagers(root: EnvoyNode): readonly FoundManager[] {
  const found: FoundManager[] = [];
  const visit = (node: EnvoyNode, chain: EnvoyNode | undefined): void => {
    const { type, node: message } = node.message;
    if (type === MANAGER) found.push({ manager: message, ...(chain === undefined ? {} : { chain }) });
    const inner = node.at('filters').elements.length > 0 && type !== MANAGER ? node : chain;
    for (const each of node.elements) visit(each, inner);
    for (const [, each] of node.entries) visit(each, inner);
  };
  visit(root, undefined);
  return found;
}

/** Route configurations that stand by themselves, as files of RDS have them, by name. */
export function findRouteConfigs(root: EnvoyNode): ReadonlyMap<string, EnvoyNode> {
  const found = root.at('resources').elements.flatMap((each) => {
    const { type, node } = each.message;
    return type === ROUTES ? [[node.at('name').text ?? '', node] as const] : [];
  });
  return new Map(found);
}
