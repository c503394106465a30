import { Watchable } from '../core/index.ts';
import type { FollowResources } from '../discovery/index.ts';
import { createFollowSecrets } from '../endpoints/sds/index.ts';
import type { CallerIdentity, IdentitySource } from '../identity/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import { createPeerLists, createSecretStore, type SecretStore } from '../secrets/index.ts';
import type { PartsContext } from './authority-parts.ts';

/** What Envoys can be sent by name. */
export interface EnvoySecrets {
  /** What names stand for. */
  readonly follow: FollowResources<CallerIdentity>;
  readonly store: SecretStore;
}

/** Throws what `createSecretStore` throws. */
export async function openEnvoySecrets(
  { config, clock, metrics, logger }: PartsContext,
  own: { readonly identities: IdentitySource; readonly policies: PolicyEngine | undefined },
): Promise<EnvoySecrets> {
  const { sds, dataDir } = config;
  const store = await createSecretStore({
    secrets: sds.secrets,
    folders: sds.files,
    dataDir,
    clock,
    logger: logger.child({ room: 'secrets' }),
    metrics,
  });
  const peers = createPeerLists({
    lists: sds.peers,
    policyData: (name) => own.policies?.data(name) ?? new Watchable({ kind: 'pending' }),
    logger: logger.child({ room: 'secrets' }),
  });
  const follow = await createFollowSecrets({
    settings: sds,
    followJwtSvid: own.identities.followJwtSvid.bind(own.identities),
    store,
    peers,
    clock,
  });
  return { follow, store };
}
