import { SvidgateError } from '../../core/index.ts';
import type { PeerVerifier, PresentedPeer, VerifiedPeer } from '../../peer/index.ts';
import { isFailure, type PolicyEngine } from '../../policy/index.ts';
import { CheckRequest, decodeMessage, type AttributeContext } from '../../proto/index.ts';
import type { SpiffeId } from '../../spiffe/index.ts';
import type { Peer } from '../../transport/index.ts';
import { identifyCaller, type CallerSources } from './caller.ts';
import { inputDocument } from './input-document.ts';

/** How one check ended. `failure` means that no decision could be made: `authz.on_error` says how Envoy is told. */
export type CheckOutcome = CheckFacts &
  (
    | { readonly kind: 'allow' }
    | { readonly kind: 'deny'; readonly reason: string; readonly httpStatus: 400 | 403; readonly detail?: string }
    | { readonly kind: 'failure'; readonly reason: string; readonly detail?: string }
  );

export interface CheckFacts {
  /** The policy that was asked for; empty when the request did not get that far. */
  readonly policy: string;
  readonly peer?: VerifiedPeer;
}

export interface CheckSources extends CallerSources {
  readonly policies: Pick<PolicyEngine, 'decide'>;
  readonly peers: PeerVerifier;
  /** Set when `authz.deny_unregistered` is on: whether some entry gives this SPIFFE ID. */
  readonly isRegistered?: (id: SpiffeId) => boolean;
  readonly maxRequestBytes: number;
}

/** Which policy a route asks for: Envoy's `context_extensions` of the ext_authz filter. */
const POLICY_KEY = 'svidgate.policy';
const DEFAULT_POLICY = 'default';

/** Decides one check request. Rejects only on a defect; the caller of this function denies then, too. */
export async function check(
  bytes: Uint8Array,
  context: { readonly peer: Peer; readonly deadline: number; readonly signal: AbortSignal },
  sources: CheckSources,
): Promise<CheckOutcome> {
  // First, so that a caller that we do not know costs no reading of what it sends.
  const caller = await identifyCaller(context.peer, sources).catch((error: unknown) => SvidgateError.from(error));
  if (caller instanceof SvidgateError) {
    const reason = caller.code === 'no_identity' ? 'caller_unregistered' : 'caller_not_attested';
    return { kind: 'deny', policy: '', reason, httpStatus: 403, detail: caller.message };
  }
  let request: CheckRequest;
  try {
    request = decodeMessage(CheckRequest, bytes, sources.maxRequestBytes);
  } catch (error) {
    const { code, message } = SvidgateError.from(error);
    return { kind: 'failure', policy: '', reason: code, detail: message };
  }
  const policy = policyName(request.attributes);
  if (caller.kind === 'anonymous' && policy !== DEFAULT_POLICY) {
    return { kind: 'deny', policy, reason: 'policy_not_allowed', httpStatus: 403 };
  }
  const presented = presentedPeer(request.attributes);
  const peer: VerifiedPeer =
    caller.kind === 'anonymous' ? { verified: false, reason: 'caller_anonymous' } : sources.peers.verify(presented);
  if (sources.peers.isRevoked(presented))
    return { kind: 'deny', policy, peer, reason: 'peer_revoked', httpStatus: 403 };
  if (peer.verified && sources.isRegistered !== undefined && !sources.isRegistered(peer.spiffeId)) {
    return { kind: 'deny', policy, peer, reason: 'peer_unregistered', httpStatus: 403 };
  }
  let input: Uint8Array;
  try {
    input = inputDocument(request, { caller, peer, policy });
  } catch (error) {
    return {
      kind: 'deny',
      policy,
      peer,
      reason: 'request_parse_error',
      httpStatus: 400,
      detail: SvidgateError.from(error).message,
    };
  }
  const { deadline, signal } = context;
  const decision = await sources.policies.decide(policy, input, { deadline, signal });
  if (decision.effect === 'allow') return { kind: 'allow', policy, peer };
  const facts = {
    policy,
    peer,
    reason: decision.reason,
    ...(decision.detail === undefined ? {} : { detail: decision.detail }),
  };
  return isFailure(decision.reason) ? { kind: 'failure', ...facts } : { kind: 'deny', ...facts, httpStatus: 403 };
}

function policyName(attributes: AttributeContext | null): string {
  const extensions = attributes?.contextExtensions ?? {};
  return Object.hasOwn(extensions, POLICY_KEY) ? (extensions[POLICY_KEY] ?? '') : DEFAULT_POLICY;
}

function presentedPeer(attributes: AttributeContext | null): PresentedPeer {
  const { certificate = '', principal = '' } = attributes?.source ?? {};
  return { certificate, principal };
}
