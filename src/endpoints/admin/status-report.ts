import type { SpiffeId, TrustDomain } from '../../spiffe/index.ts';
import type { AuthoritySlot } from './authority-service.ts';

/** How svidgate is doing at one moment. */
export interface StatusReport {
  /** Of svidgate. */
  readonly version: string;
  readonly trustDomain: TrustDomain;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly authorities: readonly AuthoritySlot[];
  readonly listeners: readonly ListenerStatus[];
  readonly policies: readonly PolicyReport[];
  readonly entries: EntriesReport;
  readonly revocations: RevocationsReport;
  readonly audit: AuditReport;
  readonly foreignBundleCount: number;
  /** What an operator should know of, each one sentence. */
  readonly warnings: readonly string[];
  readonly envoys: readonly ConnectedEnvoy[];
  /** Absent when nothing is recorded. */
  readonly decisionLog?: DecisionLogReport;
}

export interface DecisionLogReport {
  readonly folder: string;
  readonly bytes: number;
  /** Records since the start. */
  readonly written: number;
  /** Decisions since the start of which there is no record, but for those that are left out on purpose. */
  readonly lost: number;
  /** Records in memory, because the disk refuses. */
  readonly waiting: number;
  /** Why nothing can be written. */
  readonly problem?: string;
  readonly sinks: readonly DecisionSinkReport[];
  /** What Envoys answered by themselves, of each Envoy and policy. */
  readonly offloaded?: readonly OffloadedReport[];
}

export interface OffloadedReport {
  /** Absent for all that have ended. */
  readonly pid?: number;
  readonly uid?: number;
  /** As the Envoy names itself. */
  readonly name: string;
  readonly policy: string;
  readonly outcome: 'allow' | 'deny';
  /** Records that came. */
  readonly received: number;
  /** Requests by the Envoy's own counter; undefined while it does not tell. */
  readonly counted: number | undefined;
  /** Records that are missing for certain; undefined where that cannot be told. */
  readonly lost: number | undefined;
}

/** Who gets the records beside the disk. */
export interface DecisionSinkReport {
  readonly name: string;
  /** Records since the start. */
  readonly delivered: number;
  /** Records that it never gets. */
  readonly lost: number;
  readonly lagRecords: number;
  readonly lagSeconds: number;
  /** Epoch milliseconds. */
  readonly lastDeliveredAt?: number;
  /** Since when in epoch milliseconds, and why. */
  readonly failing?: { readonly since: number; readonly reason: string };
}

export interface ListenerStatus {
  /** Such as `workload`, `gate`, `telemetry`, `admin`. */
  readonly name: string;
  /** `unix:PATH` or `HOST:PORT`. */
  readonly address: string;
}

export interface PolicyReport {
  readonly name: string;
  /** Such as `active` or `failed`. */
  readonly state: string;
  readonly revision?: string;
  /** What is wrong with its newest text. */
  readonly problem?: string;
  /** What refused its newest text, such as `tests`. */
  readonly refusedBy?: string;
  /** Each mistake of its newest text, with its place. */
  readonly mistakes?: readonly string[];
  /** What the bundle in force calls itself. */
  readonly bundleRevision?: string;
  /** Name of the key that the bundle in force was signed with. */
  readonly signedBy?: string;
  /** An earlier state was brought back: since when in epoch milliseconds, by whom, and what stays out of force. */
  readonly hold?: {
    readonly since: number;
    readonly by: string;
    readonly reason?: string;
    readonly from: readonly string[];
  };
  /** Where it comes from, if that is elsewhere. Times in epoch milliseconds. */
  readonly source?: {
    readonly kind: string;
    readonly address: string;
    readonly lastContactAt?: number;
    readonly lastChangeAt?: number;
    readonly fromDisk: boolean;
    readonly lastError?: string;
  };
  /** The policy that it is tried beside. */
  readonly shadowOf?: string;
  /** What Envoys decide without a call; absent where they do not. */
  readonly offload?: PolicyOffloadReport;
  /** Until then, in epoch milliseconds, its requests are let through whatever it says. */
  readonly unenforcedUntil?: number;
}

export interface PolicyOffloadReport {
  readonly state: 'on' | 'translating' | 'nothing';
  /** Why there is nothing. */
  readonly reason?: string;
  /** Of the policy in force. */
  readonly digest?: string;
  /** Before what single Envoys may not have is left out. */
  readonly rules: number;
  /** Left to the call because of what is revoked, not registered, or of a trust domain without a bundle. */
  readonly withheldRules: number;
  /** Parts of the policy that take a call. */
  readonly left: number;
  readonly fastDeny: boolean;
  readonly leaseMs: number;
  /** Streams that follow the rules, and those that have not accepted the newest ones. */
  readonly envoys: number;
  readonly envoysBehind: number;
}

export interface EntriesReport {
  readonly count: number;
  /** Whether the entries file has become wrong, so that the entries are those of before. */
  readonly stale: boolean;
  readonly mistakeCount: number;
}

export interface RevocationsReport {
  readonly serialCount: number;
  readonly spiffeIdCount: number;
  /** Whether Envoys get a revocation list; otherwise the gate alone enforces. */
  readonly crlPublished: boolean;
}

/** In the order of the proto's enum, from 1. */
export const AUDIT_STATES = ['off', 'writing', 'failing'] as const;

export interface AuditReport {
  readonly state: (typeof AUDIT_STATES)[number];
  /** Whether nothing that must be audited happens while it cannot be. */
  readonly required: boolean;
  readonly file?: string;
}

/** One SDS stream of an attested caller. */
export interface ConnectedEnvoy {
  /** Unique as long as the server runs, and grows: the transport's connection id, or one of the stream. */
  readonly id: number;
  /** As the Envoy names itself; nothing is decided by it. */
  readonly nodeId: string;
  readonly nodeCluster: string;
  readonly pid: number;
  readonly uid: number;
  readonly spiffeIds: readonly SpiffeId[];
  readonly resources: readonly HeldResource[];
  /** Epoch milliseconds. */
  readonly connectedAt: number;
  /** The earliest end of the SVIDs that it holds, in epoch milliseconds. */
  readonly expiresAt?: number;
}

export interface HeldResource {
  readonly name: string;
  /** Such as `x509_svid`, `bundle` or `generic`. */
  readonly kind: string;
  /** As it was sent last. */
  readonly version: string;
  /** Epoch milliseconds; absent when the Envoy had it from an earlier stream. */
  readonly sentAt?: number;
  /** Whether the Envoy has accepted this version. */
  readonly acknowledged: boolean;
  /** The version it has accepted last. */
  readonly acknowledgedVersion?: string;
  /** Whether it has refused this version, or not accepted it within the limit. */
  readonly unapplied: boolean;
  /** Of this version: lower-case hex. */
  readonly serial?: string;
  /** Of this version, in epoch milliseconds. */
  readonly expiresAt?: number;
  /** Offloaded rules: of the policy that they were made of; empty for none. */
  readonly policyDigest?: string;
  /** Of our own bundle, when this version holds it. */
  readonly bundleSequence?: number;
  /** What the Envoy said when it refused one last, and when in epoch milliseconds. */
  readonly lastNack?: { readonly reason: string; readonly at: number };
}
