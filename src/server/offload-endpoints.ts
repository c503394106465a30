import { serveType, type ServedType } from '../discovery/index.ts';
import type { ServerParts } from './parts.ts';

/** Rules for Envoys as one more type of resources of the workload socket; nothing, and nothing loaded, without offload. */
export async function offloadTypes(parts: ServerParts): Promise<readonly ServedType[]> {
  const { config, logger, offload, registry } = parts;
  if (offload === undefined || config.authz === undefined) return [];
  const { createRulesType } = await import('../endpoints/ecds/index.ts');
  return [
    serveType(
      createRulesType({
        source: offload,
        leaseMs: config.authz.offloadLeaseMs,
        entries: registry.snapshot,
        logger: logger.child({ room: 'ecds' }),
      }),
    ),
  ];
}
