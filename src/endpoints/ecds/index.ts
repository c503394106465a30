/**
 * endpoints/ecds: the rules that an Envoy decides by without a call, as the configuration of its RBAC filter (ECDS).
 * Promises: rules are chosen by who the caller was attested to be; every name that svidgate could have rules for is
 * answered, where there are none with an empty set; rules end by themselves when the Envoy does not hear of us. Must not
 * know how rules come about.
 */
export { createRulesType, type RulesTypeOptions } from './rules-type.ts';
