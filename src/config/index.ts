/**
 * config: from a YAML file to a checked configuration.
 * Promises: every mistake of a file at once, each with line, column and what would be right; text of any kind gives
 * mistakes, never another exception. Must not know what the values are used for, nor open sockets.
 */
export type {
  AttestationConfig,
  ExecutableDigest,
  KubernetesAttestationConfig,
  UnixAttestationConfig,
} from './attestation-config.ts';
export type { AuthorityConfig, KeyManagerConfig, SecretSource, UpstreamConfig } from './authority-config.ts';
export type { AuthzConfig, PolicyConfig, ReplyConfig } from './authz-config.ts';
export type { DecisionLogConfig, ShownPartsConfig } from './decision-log-config.ts';
export type { DecisionLogSinksConfig, OpaSinkConfig, ReceiverConfig } from './decision-log-sinks-config.ts';
export { isAnonymous, unservedPolicies, type GateCallerConfig, type GateListenerConfig } from './gate-config.ts';
export type { HttpListenerConfig } from './gate-http-config.ts';
export type { Config, IdentitySourceConfig, ListenAddress, TelemetryConfig } from './config.ts';
export type { OffloadConfig } from './offload-config.ts';
export type { AdminCaller, AdminConfig, AuditConfig } from './operation-config.ts';
export type { JwtProviderConfig, JwtSvidConfig, PeerConfig } from './peer-config.ts';
export type { PolicyKeyConfig, PolicyVerifyConfig } from './policy-keys-config.ts';
export type { PolicyBundleConfig, PolicyBundlePlace } from './policy-source-config.ts';
export type { VaultAuthConfig, VaultConfig } from './vault-config.ts';
export { formatDuration, parseDuration } from './duration.ts';
export { parseYamlDocument } from './document.ts';
export { describeValue } from './explain.ts';
export {
  choiceField,
  durationField,
  flagField,
  integerField,
  listField,
  namedFields,
  optionalField,
  sectionField,
  textField,
  type Field,
  type ReportMistake,
} from './fields.ts';
export { formatListenAddress } from './listen-address.ts';
export {
  importOpaConfig,
  type ImportDifference,
  type ImportedAuthz,
  type ImportedOpaConfig,
} from './import-opa-config.ts';
export {
  formatMistake,
  formatPath,
  sortMistakes,
  type DocumentPath,
  type Mistake,
  type Parsed,
  type Place,
} from './mistake.ts';
export { nearestName } from './nearest-name.ts';
export { configInvalid, loadConfig, parseConfig, readConfig } from './read-config.ts';
export { readTextFile } from './read-text-file.ts';
export { configReference, renderConfigReference, type ReferenceRow } from './reference.ts';
export { parseYamlTree, type YamlTree } from './yaml-tree.ts';
export type {
  JwtSecretRule,
  PeerListConfig,
  SdsConfig,
  SdsLimits,
  SecretFolder,
  StaticSecretConfig,
} from './sds-config.ts';
