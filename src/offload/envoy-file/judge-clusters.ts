import type { EnvoyNode } from './envoy-node.ts';
import type { FilterPair } from './filter-pairs.ts';
import type { Findings } from './findings.ts';
import { clusterOf } from './judge-rbac.ts';

const CLUSTER = 'envoy.config.cluster.v3.Cluster';

/** Clusters of a bootstrap or of CDS, by name. */
export function findClusters(root: EnvoyNode): ReadonlyMap<string, EnvoyNode> {
  const discovered = root.at('resources').elements.flatMap((each) => {
    const { type, node } = each.message;
    return type === CLUSTER ? [node] : [];
  });
  const found = [...root.at('static_resources', 'clusters').elements, ...discovered];
  return new Map(found.map((cluster) => [cluster.at('name').text ?? '', cluster]));
}

/**
 * That rules and decisions are for the same caller: on a Unix socket it is the kernel that says who asks. Over TCP the gate would
 * decide for somebody else, or for nobody in particular.
 */
export function judgeClusters(
  { rbac, authz }: FilterPair,
  clusters: ReadonlyMap<string, EnvoyNode>,
  findings: Findings,
): void {
  const service = authz.config.at('grpc_service');
  const source = rbac.node.at('config_discovery', 'config_source');
  for (const [name, filter, node] of [
    [service.at('envoy_grpc', 'cluster_name').text, authz.name, service],
    [clusterOf(source), rbac.name, source],
  ] as const) {
    // What is wrong with a source is told where the filter is judged.
    if (name === 'ads' || (name === undefined && node === source)) continue;
    const cluster = name === undefined ? undefined : clusters.get(name);
    if (cluster === undefined) {
      const message = `where \`${filter}\` asks is not in these files: it has to be a Unix socket of svidgate`;
      findings.note(node, message, 'check the file with its cluster with one more --envoy');
    } else if (!isUnixSocket(cluster)) {
      const message = `\`${filter}\` asks \`${name}\`, which is no Unix socket: nobody there knows which Envoy it is`;
      findings.refuse(node, message, 'give the cluster the address `pipe: { path: … }` of svidgate');
    }
  }
}

function isUnixSocket(cluster: EnvoyNode): boolean {
  const endpoints = cluster
    .at('load_assignment', 'endpoints')
    .elements.flatMap((locality) => locality.at('lb_endpoints').elements);
  return endpoints.length > 0 && endpoints.every((each) => each.at('endpoint', 'address', 'pipe').isSet);
}
