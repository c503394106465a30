import { isSince, type EnvoyNode } from '../../discovery/index.ts';

/**
 * Whether validation contexts name the SPIFFE certificate validator: the node's own wish first, then the
 * configuration, then whether its Envoy has it (1.18; an Envoy that does not say is taken to be newer).
 */
export function usesSpiffeValidator(node: EnvoyNode, disabledByConfig: boolean): boolean {
  if (node.disableSpiffeCertValidation ?? disabledByConfig) return false;
  return isSince(node, 18);
}

/** Whether it knows `match_typed_subject_alt_names`. An older one passes over the field, and so lets everybody in. */
export function takesPeerMatchers(node: EnvoyNode): boolean {
  return isSince(node, 21);
}
