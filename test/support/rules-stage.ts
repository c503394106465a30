import { SvidgateError, Watchable } from '../../src/core/index.ts';
import { createDiscoveryEndpoint, serveType } from '../../src/discovery/index.ts';
import { createRulesType } from '../../src/endpoints/ecds/index.ts';
import { createSecretType, usesSpiffeValidator } from '../../src/endpoints/sds/index.ts';
import type { OffloadRule, OffloadSet } from '../../src/offload/index.ts';
import { EXTENSION_CONFIG_DISCOVERY_SERVICE } from '../../src/proto/index.ts';
import { parseSelector, parseSpiffeId, type RegistrationEntry, type SpiffeId } from '../../src/spiffe/index.ts';
import {
  contextOf,
  drive,
  identityOf,
  methodAt,
  recordBooks,
  recordLines,
  recordMetrics,
  SETTINGS,
  type BookEntry,
  type DrivenStream,
  type SdsStage,
} from './sds-stage.ts';
import { viewOf, type Stock } from './sds-view.ts';
import { createTestClock, type TestClock } from './test-clock.ts';

export const LEASE_MS = 9000;

export interface RulesStage {
  /** By policy; a change is pushed. */
  readonly sets: Watchable<ReadonlyMap<string, OffloadSet>>;
  /** Of the caller; none: it is not registered. */
  readonly ids: Watchable<readonly SpiffeId[]>;
  /** Secrets of the same endpoint. */
  readonly stock: Watchable<Stock>;
  readonly clock: TestClock;
  readonly books: BookEntry[];
  readonly lines: SdsStage['lines'];
  readonly metrics: Map<string, number>;
  /** `policy of ids`, of each set that is followed. */
  readonly followed: string[];
  /** Whether there are foreign trust domains. */
  readonly hasForeign: Watchable<boolean>;
  isAlive: boolean;
  stream(path: string): DrivenStream;
  fetch(request: Uint8Array): Promise<Uint8Array>;
}

export const GATE_ID = parseSpiffeId('spiffe://example.test/gateway');

export function ruleOf(id: string): OffloadRule {
  return { id, request: { kind: 'always' }, peer: { kind: 'anyone', except: [] }, origin: [] };
}

export function setOf(policy: string, ...ids: readonly string[]): readonly [string, OffloadSet] {
  return [policy, { policy, policyDigest: `digest of ${ids.join()}`, allow: ids.map(ruleOf) }];
}

/** Rules and secrets by one endpoint: real streams, what is in force is the test's, and so is the time. */
export async function rulesStage(): Promise<RulesStage> {
  const stage = {
    sets: new Watchable<ReadonlyMap<string, OffloadSet>>(new Map()),
    ids: new Watchable<readonly SpiffeId[]>([GATE_ID]),
    stock: new Watchable<Stock>(new Map()),
    clock: createTestClock(),
    books: [] as BookEntry[],
    lines: [] as SdsStage['lines'],
    metrics: new Map<string, number>(),
    followed: [] as string[],
    hasForeign: new Watchable(false),
    isAlive: true,
  };
  const methods = createDiscoveryEndpoint({
    types: [serveType(secretsOf(stage)), serveType(await rulesOf(stage))],
    limits: SETTINGS.limits,
    attestor: {
      attest: async () => ({
        selectors: new Set([parseSelector('unix:uid:1')]),
        caller: {},
        failedAttestors: [],
        assertAlive() {
          if (!stage.isAlive) throw new SvidgateError('attestation_failed', 'the caller has ended');
        },
      }),
    },
    books: { open: () => recordBooks(stage.books) },
    clock: stage.clock,
    monotonicNow: () => stage.clock.now(),
    logger: recordLines(stage.lines),
    metrics: recordMetrics(stage.metrics),
  });
  return Object.assign(stage, {
    stream: (path: string) => drive(methodAt(methods, path, 'stream')),
    fetch(request: Uint8Array) {
      const { path } = EXTENSION_CONFIG_DISCOVERY_SERVICE.fetchExtensionConfigs;
      return methodAt(methods, path, 'unary').handle(request, contextOf(new AbortController().signal));
    },
  });
}

function rulesOf(stage: Pick<RulesStage, 'sets' | 'ids' | 'followed' | 'lines' | 'hasForeign'>) {
  const { sets, ids, followed, lines, hasForeign } = stage;
  const entries = new Watchable(snapshotOf(ids.value));
  ids.subscribe((now) => entries.set(snapshotOf(now)));
  return createRulesType({
    source: {
      follow({ policy, callerIds }, onChange) {
        const what = `${policy} of ${callerIds.join()}`;
        followed.push(what);
        const unsubscribe = sets.subscribe(onChange);
        return {
          get set() {
            return sets.value.get(policy);
          },
          [Symbol.dispose]() {
            unsubscribe();
            followed.splice(followed.indexOf(what), 1);
          },
        };
      },
    },
    leaseMs: LEASE_MS,
    entries,
    logger: recordLines(lines),
    trust: { hasForeign, usesValidator: (node) => usesSpiffeValidator(node, false) },
  });
}

function snapshotOf(ids: readonly SpiffeId[]) {
  const matching = ids.map((spiffeId) => ({ spiffeId }) as RegistrationEntry);
  return { match: () => matching, concerns: () => true };
}

function secretsOf({ stock }: Pick<RulesStage, 'stock'>) {
  return createSecretType({
    unknownName: 'error',
    identities: {
      async *watch(_selectors, signal) {
        yield identityOf();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    },
    follow: (_caller, onChange) => ({
      ask: () => undefined,
      view: () => viewOf(stock.value),
      [Symbol.dispose]: stock.subscribe(onChange),
    }),
  });
}
