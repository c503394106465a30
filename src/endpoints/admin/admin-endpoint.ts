import type { GrpcMethod } from '../../transport/index.ts';
import { createAdminMethods, type AdminMethodsOptions } from './admin-call.ts';
import { authorityMethods, type AuthorityAdmin } from './authority-service.ts';
import { bundleMethods, type ForeignBundleAdmin } from './bundle-service.ts';
import { entryMethods, type EntryAdmin } from './entry-service.ts';
import { explainMethods, type ExplainAttestation } from './explain-service.ts';
import { policyHistoryMethods, type PolicyHistoryAdmin } from './policy-history-service.ts';
import { policyMethods, type PolicyAdmin } from './policy-service.ts';
import { revocationMethods, type RevocationAdmin } from './revocation-service.ts';
import { stateMethods, type TakeBackup } from './state-service.ts';
import { statusMethods, type StatusProvider } from './status-service.ts';
import type { TrustBundle } from '../../spiffe/index.ts';

export interface AdminEndpointOptions extends AdminMethodsOptions {
  readonly entries: EntryAdmin;
  readonly authorities: AuthorityAdmin;
  readonly foreignBundles: ForeignBundleAdmin;
  /** The bundle of the trust domain that svidgate signs for. */
  readonly ownBundle: () => TrustBundle;
  readonly revocations: RevocationAdmin;
  readonly status: StatusProvider;
  readonly explain: ExplainAttestation;
  /** Absent without a gate. */
  readonly policies?: PolicyAdmin;
  /** Absent without a gate. */
  readonly policyHistory?: PolicyHistoryAdmin;
  /** Absent where there is nothing to take along. */
  readonly takeBackup?: TakeBackup;
}

/** All methods of the admin API, for a socket that knows its callers. */
export function createAdminEndpoint(options: AdminEndpointOptions): readonly GrpcMethod[] {
  const { foreignBundles, ownBundle, revocations, clock } = options;
  const methods = createAdminMethods(options);
  const isKnown = (trustDomain: string): boolean =>
    trustDomain === ownBundle().trustDomain ||
    foreignBundles.list().some(({ bundle }) => bundle.trustDomain === trustDomain);
  return [
    ...entryMethods(methods, options.entries),
    ...authorityMethods(methods, options.authorities),
    ...bundleMethods(methods, { foreign: foreignBundles, own: ownBundle }),
    ...revocationMethods(methods, { revocations, isKnown }),
    ...statusMethods(methods, { provider: options.status, clock }),
    ...explainMethods(methods, options.explain),
    ...policyMethods(methods, options.policies),
    ...policyHistoryMethods(methods, options.policyHistory),
    ...stateMethods(methods, options.takeBackup),
  ];
}
