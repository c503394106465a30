import { serveType, type ServedType } from '../discovery/index.ts';
import { createRulesType } from '../endpoints/ecds/index.ts';
import type { ServerParts } from './parts.ts';

/**
 * Rules for Envoys as one more type of resources of the workload socket. Also without offload: an Envoy that asks for them by
 * the stream that its secrets come on must not lose that.
 */
export async function offloadType({ config, logger, offload, registry }: ServerParts): Promise<ServedType> {
  const type = await createRulesType({
    source: offload,
    leaseMs: config.authz?.offloadLeaseMs ?? 0,
    entries: registry.snapshot,
    logger: logger.child({ room: 'ecds' }),
  });
  return serveType(type);
}
