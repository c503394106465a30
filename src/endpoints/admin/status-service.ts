import { untilAborted, type Clock } from '../../core/index.ts';
import { encodeMessage, msToTimestamp, svidgate } from '../../proto/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminMethods } from './admin-call.ts';
import { toAuthority } from './authority-service.ts';
import { createLimit } from './limit.ts';
import { pageOf, sortedBy, type PageRequest } from './page.ts';
import { toPolicyStatus } from './policy-status-message.ts';
import {
  AUDIT_STATES,
  type DecisionLogReport,
  type ConnectedEnvoy,
  type HeldResource,
  type StatusReport,
} from './status-report.ts';

export interface StatusProvider {
  status(): StatusReport;
}

type StatusInit = svidgate.admin.v1.StatusInit;

/** How often a watched status is looked at. */
const WATCH_INTERVAL_MS = 1000;
const MAX_WATCHERS = 32;
/** Parts of a status that Envoys write themselves are cut to this. */
const MAX_TEXT_LENGTH = 1024;
/** Of Envoys and policies. */
const MAX_OFFLOADED = 1000;

/** StatusAdmin of the admin API. */
export function statusMethods(
  methods: AdminMethods,
  { provider, clock }: { readonly provider: StatusProvider; readonly clock: Clock },
): readonly GrpcMethod[] {
  const watchers = createLimit(MAX_WATCHERS, 'status watchers');
  return [
    methods.unary('getStatus', (request) => toStatus(provider.status(), request)),
    methods.stream('watchStatus', async function* watch(request, { signal }) {
      using _ = watchers.enter();
      let last: Uint8Array | undefined;
      while (!signal.aborted) {
        const status = toStatus(provider.status(), { pageSize: request.pageSize, pageToken: '' });
        const bytes = encodeMessage(svidgate.admin.v1.Status, status);
        if (last === undefined || Buffer.compare(bytes, last) !== 0) yield status;
        last = bytes;
        await untilAborted(signal, clock.sleep(WATCH_INTERVAL_MS, signal));
      }
    }),
  ];
}

function toStatus(report: StatusReport, request: PageRequest): StatusInit {
  const envoys = sortedBy(report.envoys, keyOf);
  const page = pageOf(envoys, request, { keyOf, sizeOf: (envoy) => JSON.stringify(envoy).length });
  const { serialCount, spiffeIdCount, crlPublished } = report.revocations;
  return {
    version: report.version,
    trustDomain: report.trustDomain,
    startedAt: msToTimestamp(report.startedAt),
    authorities: report.authorities.map(toAuthority),
    listeners: report.listeners,
    policies: report.policies.map(toPolicyStatus),
    entries: report.entries,
    revocations: { serialCount, spiffeIdCount, crlPublished },
    audit: {
      state: AUDIT_STATES.indexOf(report.audit.state) + 1,
      required: report.audit.required,
      file: report.audit.file ?? '',
    },
    foreignBundleCount: report.foreignBundleCount,
    warnings: report.warnings,
    envoys: page.items.map(toEnvoy),
    nextPageToken: page.nextPageToken,
    envoyCount: envoys.length,
    ...(report.decisionLog === undefined ? {} : { decisionLog: toDecisionLog(report.decisionLog) }),
  };
}

function toDecisionLog({
  problem,
  sinks,
  offloaded = [],
  ...log
}: DecisionLogReport): svidgate.admin.v1.DecisionLogStatusInit {
  return {
    ...log,
    offloaded: offloaded.slice(0, MAX_OFFLOADED).map(({ name, counted, lost, ...line }) => ({
      ...line,
      nodeId: cut(name),
      ...(counted === undefined ? {} : { counted }),
      ...(lost === undefined ? {} : { lost }),
    })),
    problem: problem ?? '',
    sinks: sinks.map(({ lastDeliveredAt, failing, ...sink }) => ({
      ...sink,
      problem: failing === undefined ? '' : cut(failing.reason),
      ...(lastDeliveredAt === undefined ? {} : { lastDeliveredAt: msToTimestamp(lastDeliveredAt) }),
      ...(failing === undefined ? {} : { failingSince: msToTimestamp(failing.since) }),
    })),
  };
}

function keyOf({ id }: ConnectedEnvoy): string {
  return String(id).padStart(16, '0');
}

function toEnvoy(envoy: ConnectedEnvoy): svidgate.admin.v1.ConnectedEnvoyInit {
  return {
    connectionId: envoy.id,
    nodeId: cut(envoy.nodeId),
    nodeCluster: cut(envoy.nodeCluster),
    pid: envoy.pid,
    uid: envoy.uid,
    spiffeIds: envoy.spiffeIds,
    resources: envoy.resources.map(toResource),
    connectedAt: msToTimestamp(envoy.connectedAt),
    ...(envoy.expiresAt === undefined ? {} : { expiresAt: msToTimestamp(envoy.expiresAt) }),
  };
}

function toResource(resource: HeldResource): svidgate.admin.v1.HeldResourceInit {
  const { sentAt, expiresAt, lastNack } = resource;
  return {
    name: cut(resource.name),
    kind: resource.kind,
    version: resource.version,
    acknowledged: resource.acknowledged,
    acknowledgedVersion: resource.acknowledgedVersion ?? '',
    unapplied: resource.unapplied,
    serial: resource.serial ?? '',
    policyDigest: resource.policyDigest ?? '',
    bundleSequence: resource.bundleSequence ?? 0,
    ...(sentAt === undefined ? {} : { sentAt: msToTimestamp(sentAt) }),
    ...(expiresAt === undefined ? {} : { expiresAt: msToTimestamp(expiresAt) }),
    ...(lastNack === undefined ? {} : { lastNack: cut(lastNack.reason), lastNackAt: msToTimestamp(lastNack.at) }),
  };
}

function cut(text: string): string {
  return text.length <= MAX_TEXT_LENGTH ? text : `${text.slice(0, MAX_TEXT_LENGTH)}…`;
}
