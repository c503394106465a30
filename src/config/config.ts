import type { TrustDomain } from '../spiffe/index.ts';
import type { AttestationConfig } from './attestation-config.ts';
import type { AuthorityConfig } from './authority-config.ts';
import type { AuthzConfig } from './authz-config.ts';
import type { DecisionLogConfig } from './decision-log-config.ts';
import type { AdminConfig, AuditConfig } from './operation-config.ts';
import type { SdsConfig } from './sds-config.ts';

/**
 * The configuration as the server uses it: defaults filled in, paths absolute, durations in milliseconds.
 * docs/reference/configuration.md lists the keys it is made from, with their limits and defaults.
 */
export interface Config {
  /** The file it was read from, absolute. */
  readonly file: string;
  readonly trustDomain: TrustDomain;
  /** Folder for the authority's key and journal and for last-good state. */
  readonly dataDir: string;
  /** Unix socket of SDS and the Workload API; at most 107 bytes, which is what the kernel takes. */
  readonly workloadSocket: string;
  /** Names of links to that socket, in its folder. */
  readonly workloadSocketAliases: readonly string[];
  readonly identitySource: IdentitySourceConfig;
  readonly admin: AdminConfig;
  readonly authority: AuthorityConfig;
  /** Registration entries; without it nobody is registered. */
  readonly entriesFile?: string;
  readonly attestation: AttestationConfig;
  /** Folder with bundles of foreign trust domains. */
  readonly bundlesFolder?: string;
  /** Whether an X.509-SVID is revoked when the last process that was given it has ended. */
  readonly revokesOnWorkloadExit: boolean;
  readonly audit: AuditConfig;
  readonly sds: SdsConfig;
  /** Absent when the gate is off: the file has no `authz` section. */
  readonly authz?: AuthzConfig;
  /** Absent: no decision is recorded. */
  readonly decisionLog?: DecisionLogConfig;
  readonly telemetry: TelemetryConfig;
}

/** Where SVIDs come from: our own authority, or an agent's Workload API on a Unix socket. */
export type IdentitySourceConfig =
  { readonly kind: 'authority' } | { readonly kind: 'workload_api'; readonly socket: string };

export interface TelemetryConfig {
  /** /metrics, /live and /ready; absent when `listen: off`. */
  readonly listen?: ListenAddress;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** Where a server listens. Port 0 lets the kernel choose. */
export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };
