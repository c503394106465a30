import { unservedPolicies } from '../config/index.ts';
import type { ListenerStatus, StatusReport } from '../endpoints/admin/index.ts';
import { decisionLogProblems, decisionLogReport } from './decision-log-report.ts';
import { gateIdsOfEntries } from './gate-tls.ts';
import { offloadWarnings } from './offload-report.ts';
import type { ServerParts } from './parts.ts';
import { heldWarnings, policyReport, sourceWarnings } from './policy-report.ts';

/** How the server is doing at this moment. */
export function createStatus(
  parts: ServerParts,
  own: {
    readonly version: string;
    readonly startedAt: number;
    readonly listeners: () => readonly ListenerStatus[];
  },
): { status(): StatusReport } {
  const { config, registry, revocations, foreignBundles, signer } = parts;
  return {
    status: () => ({
      ...decisionLogPart(parts),
      version: own.version,
      trustDomain: config.trustDomain,
      startedAt: own.startedAt,
      authorities: signer.own?.authority.slots.value ?? [],
      listeners: own.listeners(),
      policies: policyReports(parts),
      entries: {
        count: registry.status.value.entryCount,
        stale: registry.status.value.state === 'stale',
        mistakeCount: registry.status.value.mistakes.length,
      },
      revocations: revocationReport(parts),
      audit: { state: parts.audit.state(), required: config.audit.required, file: config.audit.file },
      foreignBundleCount: foreignBundles.list().length,
      warnings: warningsOf(parts),
      envoys: parts.streams.streams(),
    }),
  };

  function revocationReport({ signer: { bundle } }: ServerParts): StatusReport['revocations'] {
    const { all } = revocations.snapshot.value;
    return {
      serialCount: all.filter(({ target }) => target.kind === 'serial').length,
      spiffeIdCount: all.filter(({ target }) => target.kind === 'spiffe_id').length,
      crlPublished: (bundle.value.revocationLists ?? []).length > 0,
    };
  }
}

function decisionLogPart(parts: ServerParts): Pick<StatusReport, 'decisionLog'> {
  const decisionLog = decisionLogReport(parts);
  return decisionLog === undefined ? {} : { decisionLog };
}

function policyReports(parts: ServerParts): StatusReport['policies'] {
  return [...(parts.policies?.status.value.keys() ?? [])].map((name) => policyReport(parts, name));
}

function unenforcedWarnings({ evidence }: ServerParts): readonly string[] {
  return [...(evidence?.unenforced ?? [])].map(
    ([name, until]) =>
      `policy ${name} is not enforced until ${new Date(until).toISOString()}: its requests are let through`,
  );
}

function gateWarnings({ config, gateIdentity, registry }: ServerParts): readonly string[] {
  const unserved = config.authz === undefined ? [] : unservedPolicies(config.authz);
  const closed = gateIdentity?.tls.checks().filter(({ problem }) => problem !== undefined) ?? [];
  return [
    ...unserved.map((name) => `no caller of any listener may ask for policy ${name}`),
    ...closed.map(({ name, problem }) => `nobody can connect to ${name}: ${problem}`),
    ...gateIdsOfEntries(config, registry.snapshot.value).map(
      (id) => `an entry gives ${id}, which the gate shows, to callers`,
    ),
  ];
}

function warningsOf(parts: ServerParts): readonly string[] {
  const { registry, revocations, signer, streams, config } = parts;
  const { state, refusedCount, mistakes } = registry.status.value;
  const revokedSerials = revocations.snapshot.value.all.some(
    ({ target }) => target.kind === 'serial' && target.holderEnded !== true,
  );
  const hasLists = (signer.bundle.value.revocationLists ?? []).length > 0;
  const { value: problem } = signer.problem;
  const unapplied = streams.unappliedCount();
  return [
    ...(problem === undefined ? [] : [`the agent that signs is not followed: ${problem}`]),
    ...(state === 'stale'
      ? [`the entries file has ${mistakes.length} mistakes; its last good entries are in force`]
      : []),
    ...(refusedCount > 0
      ? [`${refusedCount} entries of the file are not in force: entries of the API are in their way`]
      : []),
    ...(unapplied > 0
      ? [
          `${unapplied} of the secrets sent to Envoys were refused, or not accepted within ${config.sds.ackTimeoutMs / 1000} s`,
        ]
      : []),
    ...(revokedSerials && !hasLists
      ? ['no revocation list is published for the revoked serials: the gate alone refuses them']
      : []),
    ...(signer.own?.keyManager.isPersistent !== false
      ? []
      : ['keys are in memory alone: a restart makes a new authority']),
    ...unenforcedWarnings(parts),
    ...heldWarnings(parts),
    ...decisionLogProblems(parts),
    ...sourceWarnings(parts),
    ...offloadWarnings(parts),
    ...gateWarnings(parts),
    ...(revocations.snapshot.value.all.length > 0
      ? ['a revocation ends no stream, WebSocket or TCP connection that is open: bound their duration in Envoy']
      : []),
  ];
}
