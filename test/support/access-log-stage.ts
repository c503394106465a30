import { join } from 'node:path';
import { createAttestor, createPeerTracker, createUnixAttestor, openKernel } from '../../src/attestation/index.ts';
import { silentLogger, systemClock, type LogFields, type Logger } from '../../src/core/index.ts';
import { createAccessLogEndpoint } from '../../src/endpoints/access-log/index.ts';
import { createHealthEndpoint } from '../../src/endpoints/health/index.ts';
import {
  type OffloadBooks,
  openDecisionRecorder,
  readRecords,
  type DecisionRecord,
  type OffloadEvidence,
  type OpenDecisionRecorder,
} from '../../src/evidence/index.ts';
import { openOffloadBooks } from '../../src/server/offload-evidence.ts';
import type { OffloadOrigin } from '../../src/offload/index.ts';
import type { InputNeeds, LogRules } from '../../src/policy/index.ts';
import { parseSpiffeId, type RegistrationEntry } from '../../src/spiffe/index.ts';
import { createMetrics } from '../../src/telemetry/index.ts';
import { startGrpcServer } from '../../src/transport/index.ts';

/** What takes the logs of Envoys, without the rest of a server: its rules are those that a test names. */
export interface AccessLogStage extends AsyncDisposable {
  readonly folder: string;
  readonly socket: string;
  readonly books: OffloadBooks;
  readonly recorder: OpenDecisionRecorder;
  readonly warnings: readonly (LogFields & { readonly message: string })[];
  /** Of one policy. */
  evidence(policy?: string): OffloadEvidence | undefined;
  metric(name: string): Promise<number>;
}

export const CALLER = parseSpiffeId('spiffe://example.test/envoy');
export const STAGE_DIGEST = 'd'.repeat(64);

/** What the policy of the stage looks at. */
export const STAGE_NEEDS: InputNeeds = new Map<string, InputNeeds>([
  ['attributes', new Map([['request', new Map([['http', new Map([['method', 'all' as const]])]])]])],
  ['parsed_path', 'all'],
]);

export interface AccessLogStageOptions {
  /** Policies that the caller may ask for. Default: `default`. */
  readonly policies?: readonly string[];
  /** Default: one for each name that begins with `rule-`, of policy `default`. */
  readonly originOf?: (rule: string) => OffloadOrigin | undefined;
  readonly needs?: InputNeeds;
  /** Default: none. */
  readonly logRules?: LogRules;
  /** Policies with fast_deny. Default: `default`. */
  readonly fastDeny?: readonly string[];
  /** Default: it has an entry. */
  readonly isRegistered?: () => boolean;
  /** Default: at once. */
  readonly whenKnown?: () => Promise<void>;
}

/** On the socket `api.sock` and the log `data/decisions` of the folder, which may be from before. */
export async function startAccessLogStage(
  folder: string,
  {
    policies = ['default'],
    originOf = originOfRule,
    needs = STAGE_NEEDS,
    logRules,
    fastDeny = ['default'],
    isRegistered = () => true,
    whenKnown = async () => undefined,
  }: AccessLogStageOptions = {},
): Promise<AccessLogStage> {
  await using open = new AsyncDisposableStack();
  const metrics = createMetrics();
  const warnings: (LogFields & { message: string })[] = [];
  const logger: Logger = { ...silentLogger, warn: (fields, message) => void warnings.push({ ...fields, message }) };
  const clock = systemClock;
  const recorder = await openDecisionRecorder({
    folder: join(folder, 'decisions'),
    maxBytes: 256 * 2 ** 20,
    labels: {},
    shown: { headers: [], query: [], claims: [], paths: [] },
    key: new Uint8Array(32),
    clock,
    logger: silentLogger,
    metrics,
  });
  open.defer(() => recorder.close());
  const { books, run } = await openOffloadBooks(folder, { clock, logger, metrics });
  const stop = new AbortController();
  const running = run(stop.signal);
  open.defer(async () => {
    stop.abort();
    await running;
  });
  const tracker = createPeerTracker(openKernel());
  open.defer(() => tracker.close());
  const attestors = [createUnixAttestor({ discoverWorkloadPath: false, executableDigest: { kind: 'off' } })];
  const audit = { record: () => undefined };
  const parts = { tracker, attestors, allowWithoutPid: false, logger: silentLogger, metrics, audit, clock };
  const entry = { spiffeId: CALLER } as RegistrationEntry;
  const methods = [
    ...createAccessLogEndpoint({
      attestor: createAttestor(parts),
      entries: { match: (selectors) => (selectors.size > 0 && isRegistered() ? [entry] : []) },
      source: { mayHave: (policy, ids) => ids.includes(CALLER) && policies.includes(policy), originOf },
      hasFastDeny: (policy) => fastDeny.includes(policy),
      whenKnown,
      recordingOf: () => ({
        digest: STAGE_DIGEST,
        needs,
        entrypoint: 'envoy/authz/allow',
        ...(logRules === undefined ? {} : { logRules }),
      }),
      books,
      recorder,
      audit,
      clock,
      logger,
      metrics,
    }),
    ...createHealthEndpoint(),
  ];
  const server = await startGrpcServer({
    name: 'workload',
    address: { kind: 'unix', path: join(folder, 'api.sock'), mode: 0o600 },
    methods,
    identify: tracker.identify,
    maxMessageBytes: 1024 * 1024,
    anyAuthority: true,
    logger: silentLogger,
    metrics,
  });
  open.defer(() => server.stop(0));
  const closing = open.move(); // disposed of twice, it is closed once
  return {
    folder,
    socket: `unix:${join(folder, 'api.sock')}`,
    books,
    recorder,
    warnings,
    evidence: (policy = 'default') => books.status().find((line) => line.policy === policy),
    async metric(name) {
      const { body } = await metrics.render();
      const line = body.split('\n').find((text) => text.startsWith(`${name} `));
      return Number(line?.slice(name.length + 1) ?? 0);
    },
    [Symbol.asyncDispose]: () => closing.disposeAsync(),
  };
}

function originOfRule(rule: string): OffloadOrigin | undefined {
  if (!rule.startsWith('rule-')) return undefined;
  const origin = [{ name: 'data.envoy.authz.allow', file: 'authz.rego', line: 7 }];
  const peer = rule.includes('peer') ? 'peers' : 'anyone';
  return { policy: 'default', policyDigest: STAGE_DIGEST, origin, peer, isFor: () => !rule.includes('foreign') };
}

/** What is on disk; the stage has ended. */
export async function recordsIn(folder: string): Promise<readonly DecisionRecord[]> {
  const records: DecisionRecord[] = [];
  for await (const record of readRecords(join(folder, 'decisions'))) records.push(record);
  return records;
}
