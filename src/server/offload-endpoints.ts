import { serveType, type ServedType } from '../discovery/index.ts';
import { combine } from '../core/index.ts';
import { createRulesType } from '../endpoints/ecds/index.ts';
import { usesSpiffeValidator } from '../endpoints/sds/index.ts';
import type { ServerParts } from './parts.ts';

/**
 * Rules for Envoys as one more type of resources of the workload socket. Also without offload: an Envoy that asks for them by
 * the stream that its secrets come on must not lose that.
 */
export async function offloadType(parts: ServerParts): Promise<ServedType> {
  const { config, logger, offload, registry, signer, foreignBundles } = parts;
  const type = await createRulesType({
    source: offload,
    leaseMs: config.authz?.offloadLeaseMs ?? 0,
    entries: registry.snapshot,
    logger: logger.child({ room: 'ecds' }),
    trust: {
      hasForeign: combine(signer.foreignBundles, foreignBundles.bundles, (given, set) => given.size + set.size > 0),
      usesValidator: (node) => usesSpiffeValidator(node, config.sds.disableSpiffeCertValidation),
    },
  });
  return serveType(type);
}
