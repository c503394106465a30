/**
 * config: from a YAML file to a checked configuration.
 * Promises: every mistake of a file at once, each with line, column and what would be right; text of any kind gives
 * mistakes, never another exception. Must not know what the values are used for, nor open sockets.
 */
export type {
  AuthorityConfig,
  AuthzConfig,
  Config,
  ExecutableDigest,
  ListenAddress,
  PolicyConfig,
  SdsConfig,
  TelemetryConfig,
  UnixAttestationConfig,
} from './config.ts';
