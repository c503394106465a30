/**
 * authoring: policies for those who do not write Rego: rules files, and rules of others.
 * Promises: what a file means is in the Rego that it becomes, which goes the way of all Rego; what cannot be kept exactly is
 * refused, with its place. Must not know how policies are evaluated, nor open sockets.
 */
export { readRules, translateRules, type RulesPolicy, type TranslatedRules } from './read-rules.ts';
export { importIstio, type ImportedIstio, type IstioOptions } from './import-istio.ts';
export { rulesToYaml } from './rules-to-yaml.ts';
