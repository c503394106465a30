/** What policies allow from what Envoy knows, as rules for its own RBAC filter: always a subset of what the Rego allows. */
export {
  OFFLOAD_NAMES,
  policyOfResource,
  type HeaderTest,
  type OffloadKey,
  type OffloadRule,
  type OffloadSet,
  type PeerMatch,
  type RequestMatch,
  type TextMatch,
} from './offload-rules.ts';
export type { FollowedSet, OffloadOrigin, OffloadSource } from './offload-source.ts';
export {
  holdsForCaller,
  isHop,
  matchesText,
  type CallerCondition,
  type CallerIdTest,
  type GateFacts,
  type LeftReason,
  type LeftRule,
  type TranslatedPolicy,
  type TranslatedRule,
} from './translated-policy.ts';
export {
  checkEnvoyFiles,
  type EnvoyFile,
  type EnvoyFileFindings,
  type KnownConfig,
  type KnownPolicies,
} from './envoy-file/check-envoy-files.ts';
export type { EnvoyPeer, EnvoyRequest } from './model/envoy-request.ts';
export {
  matchOffload,
  offloadMatcher,
  ENVOY_READINGS,
  type EnvoyReading,
  type OffloadMatch,
} from './model/match-offload.ts';
export { requestOfInput } from './model/request-of-input.ts';
export { gateFactsOf, mayAskAttested, offloadObstacle } from './gate-facts.ts';
export { createLiveOffload, type LiveOffload, type OffloadedPolicy, type OffloadReport } from './live-offload.ts';
export { KnownPeers } from './known-peers.ts';
export { followPeerFacts, type PeerFactsSource } from './peer-facts.ts';
export { isOpen, withKnownPeers } from './told-peers.ts';
export { restrict, setFor, type PeerFacts, type RestrictedPolicy } from './restrict.ts';
export { encodeNoRules, encodeRules, type EncodedRules } from './encode-rules.ts';
export { showRules, type ShownRules } from './show-rules.ts';
export { translatePolicy, type TranslateOptions } from './translate/index.ts';
