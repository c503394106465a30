import { createDiscoveryEndpoint, serveType } from '../discovery/index.ts';
import { createHealthEndpoint, createReflectionEndpoint } from '../endpoints/health/index.ts';
import { createSecretType } from '../endpoints/sds/index.ts';
import { createTelemetryApp, type ReadinessCheck } from '../endpoints/telemetry/index.ts';
import { createWorkloadApiEndpoint } from '../endpoints/workload-api/index.ts';
import type { MetricsRegistry } from '../telemetry/index.ts';
import { startGrpcServer, startHttpServer, type GrpcServer, type HttpServer } from '../transport/index.ts';
import { OPEN_SOCKET_MODE, openAddress } from './open-address.ts';
import { offloadType } from './offload-endpoints.ts';
import type { ServerParts } from './parts.ts';
import { decisionLogProblems } from './decision-log-report.ts';
import { readinessNote } from './policy-report.ts';

/** Requests are small: Envoy's first one lists its extensions, some 100 KiB. */
const WORKLOAD_MAX_MESSAGE_BYTES = 1024 * 1024;

/** SDS and the Workload API, with health and reflection, for attested callers. */
export async function startWorkloadSocket(parts: ServerParts): Promise<GrpcServer> {
  const { config, logger, metrics, attestor, identities, audit, clock, revocations } = parts;
  const methods = [
    ...createDiscoveryEndpoint({
      types: [
        serveType(createSecretType({ unknownName: config.sds.unknownName, identities, follow: parts.secrets.follow })),
        await offloadType(parts),
      ],
      limits: config.sds.limits,
      attestor,
      books: parts.streams,
      audit,
      clock,
      logger: logger.child({ room: 'sds' }),
      metrics,
    }),
    ...createWorkloadApiEndpoint({
      attestor,
      identities,
      isRevoked: (id) => revocations.snapshot.value.hasSpiffeId(id),
      audit,
      clock,
      logger: logger.child({ room: 'workload-api' }),
      metrics,
    }),
    ...(parts.offloadEvidence?.methods ?? []),
    ...createHealthEndpoint(),
  ];
  return await startGrpcServer({
    name: 'workload',
    address: {
      kind: 'unix',
      path: config.workloadSocket,
      mode: OPEN_SOCKET_MODE,
      aliases: config.workloadSocketAliases,
    },
    methods: [...methods, ...createReflectionEndpoint(methods)],
    identify: parts.tracker.identify,
    maxMessageBytes: WORKLOAD_MAX_MESSAGE_BYTES,
    // grpc-java sends the socket's path as authority, an Envoy the name of its cluster.
    anyAuthority: true,
    logger: logger.child({ room: 'transport' }),
    metrics,
  });
}

/** /metrics, /live and /ready, or undefined when the configuration has it off. */
export async function startTelemetry(parts: ServerParts, metrics: MetricsRegistry): Promise<HttpServer | undefined> {
  const { listen } = parts.config.telemetry;
  if (listen === undefined) return undefined;
  const app = createTelemetryApp({
    render: () => metrics.render(),
    readiness: () => [
      identityReadiness(parts),
      ...policyReadiness(parts),
      ...(parts.gateIdentity?.tls.checks() ?? []),
      ...decisionLogReadiness(parts),
    ],
    logger: parts.logger.child({ room: 'telemetry' }),
  });
  return startHttpServer({ address: openAddress(listen), fetch: (request) => app.fetch(request) });
}

/** Whether there is a bundle to issue under: an agent that signs may not have answered yet. */
function identityReadiness({ signer }: ServerParts): ReadinessCheck {
  if (signer.bundle.value.x509Authorities.length > 0) return { name: 'identities' };
  return { name: 'identities', problem: signer.problem.value ?? 'there is no X.509 authority' };
}

/** Always holds: what cannot be recorded or delivered is told, and decided all the same. */
function decisionLogReadiness(parts: ServerParts): readonly ReadinessCheck[] {
  if (parts.decisionLog === undefined) return [];
  const [note] = decisionLogProblems(parts);
  return [{ name: 'decision_log', ...(note === undefined ? {} : { note }) }];
}

/** One check for each policy that decides: whether it can. */
function policyReadiness({ policies, evidence }: ServerParts): readonly ReadinessCheck[] {
  const deciding = [...(policies?.status.value ?? [])].filter(([name]) => evidence?.isTrial(name) !== true);
  return deciding.map(([policy, status]) => {
    const name = `policy:${policy}`;
    if (status.state !== 'active') return { name, problem: status.lastError?.message ?? 'no live policy' };
    const note = readinessNote(status);
    return { name, ...(note === undefined ? {} : { note }) };
  });
}

export { startAdmin } from './admin.ts';
export { startGate } from './gate.ts';
export { createStatus } from './status.ts';
