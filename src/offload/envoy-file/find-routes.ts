import type { EnvoyNode } from './envoy-node.ts';

export interface FoundRoutes {
  /** Route configurations that the manager may use. */
  readonly configs: readonly EnvoyNode[];
  /** Where it says that routes come by discovery, of which no file is given. */
  readonly unseen: readonly EnvoyNode[];
}

/** Routes of a connection manager: its own, those of its scopes, and those of the files of RDS. */
export function routesOf(manager: EnvoyNode, routeConfigs: ReadonlyMap<string, EnvoyNode>): FoundRoutes {
  const scoped = manager.at('scoped_routes');
  const scopes = scoped.at('scoped_route_configurations_list', 'scoped_route_configurations').elements;
  const found: EnvoyNode[] = [];
  const unseen: EnvoyNode[] = [];
  const add = (config: EnvoyNode, name: EnvoyNode, at: EnvoyNode): void => {
    const known = config.isSet ? config : routeConfigs.get(name.text ?? '');
    if (known === undefined) unseen.push(at);
    else found.push(known);
  };
  for (const scope of scopes) add(scope.at('route_configuration'), scope.at('route_configuration_name'), scope);
  if (scoped.isSet && scopes.length === 0) unseen.push(scoped);
  const [inline, rds] = [manager.at('route_config'), manager.at('rds')];
  if (inline.isSet || !scoped.isSet) add(inline, rds.at('route_config_name'), rds.isSet ? rds : manager);
  const hosts = found.map((config) => config.at('vhds')).filter(({ isSet }) => isSet);
  return { configs: found, unseen: [...unseen, ...hosts] };
}
