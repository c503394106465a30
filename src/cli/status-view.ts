import { int64ToBigInt, timestampToMs, type svidgate } from '../proto/index.ts';
import { authorityJson, formatAuthorities } from './authority-view.ts';
import { decisionLogJson, decisionLogText, formatDecisionSinks, formatOffloadedRequests } from './decision-log-view.ts';
import { formatOffload } from './offload-status-view.ts';
import { policyStatusJson } from './policy-history-view.ts';
import { formatPolicySources } from './policy-source-view.ts';
import { formatFields, formatTable } from './table.ts';
import { formatAge, formatWhen, isoTime } from './when.ts';

type Status = svidgate.admin.v1.Status;
type Envoy = svidgate.admin.v1.ConnectedEnvoy;
type Resource = svidgate.admin.v1.HeldResource;

/** In the order of the proto's enum, from 0. */
const AUDIT_STATES = ['unknown', 'off', 'writing', 'failing'] as const;
/** Of a version, which is a hash. */
const SHOWN_VERSION_LENGTH = 12;
const ENVOY_COLUMNS = ['ENVOY', 'PID', 'UID', 'SPIFFE IDS'];
const RESOURCE_COLUMNS = ['RESOURCE', 'KIND', 'SENT', 'ACKNOWLEDGED', 'STATE', 'SERIAL', 'ENDS', 'BUNDLE', 'LAST NACK'];

/** The status with the given Envoys, which may come from several pages. */
export function formatStatus(status: Status, envoys: readonly Envoy[], now: number): string {
  const { entries, revocations, audit } = status;
  const hidden = Number(int64ToBigInt(status.envoyCount)) - envoys.length;
  const summary = formatFields({
    svidgate: `${status.version}, up for ${formatAge(status.startedAt, now)}`,
    'Trust domain': status.trustDomain,
    Listeners: status.listeners.map(({ name, address }) => `${name} on ${address}`),
    Entries: entries === null ? '' : `${String(entries.count)}${staleNote(entries)}`,
    Revocations: revocations === null ? '' : revocationsText(revocations),
    'Foreign bundles': String(status.foreignBundleCount),
    'Audit log': audit === null ? '' : auditText(audit),
    ...(status.decisionLog === null ? {} : { 'Decision log': decisionLogText(status.decisionLog) }),
    Warnings: status.warnings,
  });
  const policies = status.policies.map((policy) => [
    policy.name,
    policy.hold === null ? policy.state : `${policy.state}, rolled back`,
    decidesText(policy),
    policy.revision.slice(0, SHOWN_VERSION_LENGTH),
    problemText(policy),
  ]);
  return [
    summary,
    formatAuthorities(status.authorities, now),
    ...(policies.length === 0 ? [] : [formatTable(['POLICY', 'STATE', 'DECIDES', 'REVISION', 'PROBLEM'], policies)]),
    ...formatPolicySources(status.policies, now),
    ...formatOffload(status.policies),
    ...formatDecisionSinks(status.decisionLog, now),
    ...formatOffloadedRequests(status.decisionLog),
    formatTable(
      [...ENVOY_COLUMNS, ...RESOURCE_COLUMNS],
      envoys.flatMap((envoy) => envoyRows(envoy, now)),
      'no Envoy is connected',
    ),
    ...(hidden > 0 ? [`and ${hidden} more\n`] : []),
  ].join('\n');
}

function decidesText({ shadowOf, unenforcedUntil }: svidgate.admin.v1.PolicyStatus): string {
  if (shadowOf !== '') return `no, shadow of ${shadowOf}`;
  return unenforcedUntil === null ? 'yes' : `from ${isoTime(unenforcedUntil) ?? ''}`;
}

function problemText({ problem, refusedBy }: svidgate.admin.v1.PolicyStatus): string {
  return problem === '' || refusedBy === '' ? problem : `${refusedBy}: ${problem}`;
}

/** A row for each resource; what is the Envoy's own stands in the first. */
function envoyRows(envoy: Envoy, now: number): readonly (readonly string[])[] {
  const own = [envoy.nodeId, String(envoy.pid), int64ToBigInt(envoy.uid).toString(), envoy.spiffeIds.join(',')];
  if (envoy.resources.length === 0) return [[...own, '', '', '', '', 'holds nothing', '', '', '', '']];
  return envoy.resources.map((resource, index) => [
    ...(index === 0 ? own : [' ', ' ', ' ', ' ']),
    ...resourceCells(resource, now),
  ]);
}

function resourceCells(resource: Resource, now: number): readonly string[] {
  const { lastNack, lastNackAt } = resource;
  const sequence = int64ToBigInt(resource.bundleSequence);
  return [
    resource.name,
    resource.kind,
    resource.version.slice(0, SHOWN_VERSION_LENGTH),
    resource.acknowledgedVersion.slice(0, SHOWN_VERSION_LENGTH),
    stateOf(resource, now),
    resource.serial,
    formatWhen(resource.expiresAt, now),
    sequence === 0n ? '' : String(sequence),
    lastNack === '' ? '' : `${formatWhen(lastNackAt, now)}: ${lastNack}`,
  ];
}

function stateOf({ acknowledged, unapplied, sentAt, lastNackAt }: Resource, now: number): string {
  if (acknowledged) return 'applied';
  if (!unapplied) return `sent ${formatWhen(sentAt, now)}`;
  const isRefused = lastNackAt !== null && (sentAt === null || timestampToMs(lastNackAt) >= timestampToMs(sentAt));
  return isRefused ? 'refused' : 'no answer';
}

/** As --output json shows it. */
export function statusJson(status: Status, envoys: readonly Envoy[]): Readonly<Record<string, unknown>> {
  const { entries, revocations, audit } = status;
  return {
    version: status.version,
    trust_domain: status.trustDomain,
    started_at: isoTime(status.startedAt),
    authorities: status.authorities.map(authorityJson),
    listeners: status.listeners.map(({ name, address }) => ({ name, address })),
    policies: status.policies.map(policyStatusJson),
    entries: {
      count: numberOf(entries?.count),
      stale: entries?.stale ?? false,
      mistake_count: entries?.mistakeCount ?? 0,
    },
    revocations: {
      serial_count: numberOf(revocations?.serialCount),
      spiffe_id_count: numberOf(revocations?.spiffeIdCount),
      crl_published: revocations?.crlPublished ?? false,
    },
    audit: {
      state: AUDIT_STATES[audit?.state ?? 0] ?? 'unknown',
      required: audit?.required ?? false,
      ...(audit === null || audit.file === '' ? {} : { file: audit.file }),
    },
    ...(status.decisionLog === null ? {} : { decision_log: decisionLogJson(status.decisionLog) }),
    foreign_bundle_count: status.foreignBundleCount,
    warnings: status.warnings,
    envoy_count: numberOf(status.envoyCount),
    envoys: envoys.map(envoyJson),
  };
}

function envoyJson(envoy: Envoy): object {
  return {
    connection_id: numberOf(envoy.connectionId),
    node_id: envoy.nodeId,
    node_cluster: envoy.nodeCluster,
    pid: envoy.pid,
    uid: numberOf(envoy.uid),
    spiffe_ids: envoy.spiffeIds,
    connected_at: isoTime(envoy.connectedAt),
    expires_at: isoTime(envoy.expiresAt),
    resources: envoy.resources.map(resourceJson),
  };
}

function resourceJson(resource: Resource): object {
  const { serial, policyDigest, acknowledgedVersion, lastNack } = resource;
  const sequence = numberOf(resource.bundleSequence);
  return {
    name: resource.name,
    kind: resource.kind,
    version: resource.version,
    sent_at: isoTime(resource.sentAt),
    acknowledged: resource.acknowledged,
    ...(acknowledgedVersion === '' ? {} : { acknowledged_version: acknowledgedVersion }),
    unapplied: resource.unapplied,
    ...(serial === '' ? {} : { serial }),
    ...(policyDigest === '' ? {} : { policy_digest: policyDigest }),
    expires_at: isoTime(resource.expiresAt),
    ...(sequence === 0 ? {} : { bundle_sequence: sequence }),
    ...(lastNack === '' ? {} : { last_nack: lastNack, last_nack_at: isoTime(resource.lastNackAt) }),
  };
}

function staleNote({ stale, mistakeCount }: svidgate.admin.v1.EntriesStatus): string {
  if (!stale) return '';
  return `, those of before: the entries file has ${mistakeCount} ${mistakeCount === 1 ? 'mistake' : 'mistakes'}`;
}

function revocationsText({ serialCount, spiffeIdCount, crlPublished }: svidgate.admin.v1.RevocationsStatus): string {
  const how = crlPublished ? 'by revocation lists and at the gate' : 'at the gate alone';
  return `${String(serialCount)} serials and ${String(spiffeIdCount)} SPIFFE IDs, enforced ${how}`;
}

function auditText({ state, required, file }: svidgate.admin.v1.AuditStatus): string {
  const name = AUDIT_STATES[state] ?? 'unknown';
  return `${name}${file === '' ? '' : ` ${file}`}${required ? ', required' : ''}`;
}

function numberOf(value: svidgate.admin.v1.Status['envoyCount'] | undefined): number {
  return value === undefined ? 0 : Number(int64ToBigInt(value));
}
