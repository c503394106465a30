/**
 * From a policy to rules that Envoy's RBAC filter can decide by. Promises: a request that a rule allows is one that the policy
 * allows, and that the gate would have put before it; what cannot be said exactly is left to the call, with the place in the Rego.
 */
export { translatePolicy, type TranslateOptions } from './translate-policy.ts';
export { TRANSLATORS } from './translators.ts';
export type { Translators } from './terms.ts';
