import type { AuditCaller } from '../../core/index.ts';
import type { FollowResources, ResourceType, UnknownName } from '../../discovery/index.ts';
import type { CallerIdentity } from '../../identity/index.ts';
import { SECRET_DISCOVERY_SERVICE, SECRET_TYPE_URL } from '../../proto/index.ts';
import type { Selector } from '../../spiffe/index.ts';

export interface SecretTypeOptions {
  readonly unknownName: UnknownName;
  readonly identities: {
    watch(
      selectors: ReadonlySet<Selector>,
      signal: AbortSignal,
      caller?: AuditCaller,
    ): AsyncGenerator<CallerIdentity, void, void>;
  };
  /** What names stand for. */
  readonly follow: FollowResources<CallerIdentity>;
}

const { streamSecrets, deltaSecrets, fetchSecrets } = SECRET_DISCOVERY_SERVICE;

/** Secrets as a type of resources. */
export function createSecretType({ unknownName, identities, follow }: SecretTypeOptions): ResourceType<CallerIdentity> {
  return {
    typeUrl: SECRET_TYPE_URL,
    service: {
      sotw: { name: 'StreamSecrets', path: streamSecrets.path },
      delta: { name: 'DeltaSecrets', path: deltaSecrets.path },
      fetch: { name: 'FetchSecrets', path: fetchSecrets.path },
    },
    unknownName,
    subjects: ({ selectors, audit }, signal) => identities.watch(selectors, signal, audit),
    follow,
    signals: {
      pushes: 'svidgate_sds_pushes_total',
      nacks: 'svidgate_sds_nacks_total',
      pushSeconds: 'svidgate_sds_push_seconds',
      pushedMessage: 'secrets pushed',
      removedMessage: 'secrets removed',
      refusedMessage: 'secrets refused by envoy',
    },
  };
}
