import { SvidgateError } from '../../core/index.ts';
import type { ToldCounters } from '../../evidence/index.ts';
import { decodeMessage, eachField, Fields, int64ToBigInt, MetricFamily } from '../../proto/index.ts';
import { nodeIdIn } from './access-log-stream.ts';
import type { LoggingCaller } from './caller.ts';
import { Turn, type FairTurns } from './fair-turns.ts';

// Numbers of fields in service/metrics/v3 and io/prometheus/client.
const IDENTIFIER = 1;
const ENVOY_METRICS = 2;
const FAMILY_NAME = 1;

/** `http.PREFIX.rbac.svidgate_POLICY_.shadow_allowed`, and `.denied` of what is refused without a call. */
const COUNTER = /^http\..+\.rbac\.svidgate_(?<policy>.+)_\.(?<what>shadow_allowed|denied)$/;
const ACTIVE = /^http\.(?!admin\.).+\.downstream_rq_active$/;
const MAX_NAME = 512;
const MAX_FAMILY_BYTES = 4096;
const MAX_COUNTERS = 1000;

/** Takes what an Envoy tells of itself: of some thousand metrics, those of our filters. Throws `invalid_request`. */
export async function takeMetrics(message: Uint8Array, caller: LoggingCaller, context: MetricsContext): Promise<void> {
  const told: Told = { at: 0, active: undefined, counters: new Map() };
  const turn = new Turn(context.turns, caller.pid);
  await turn.begin();
  let { mayHave } = caller.rights();
  const fields = new Fields(message, 0, message.length);
  while (fields.next()) {
    const { field, from, to } = fields;
    if (turn.isOver(to - from)) {
      await turn.begin();
      mayHave = caller.rights().mayHave;
    }
    if (field === IDENTIFIER) caller.book.name(nodeIdIn(message, [from, to]));
    if (field === ENVOY_METRICS) takeFamily(message.subarray(from, to), told, mayHave);
  }
  if (!fields.isWhole) throw new SvidgateError('invalid_request', 'not a message of metrics');
  if (told.counters.size === 0 && told.active === undefined) return;
  const now = context.clock.now();
  // A clock that is not ours would make nothing or everything lost.
  const at = Math.abs(told.at - now) < MAX_SKEW_MS ? told.at : now;
  caller.book.count({ at, active: told.active, counters: [...told.counters.values()] });
}

interface MetricsContext {
  readonly turns: FairTurns;
  readonly clock: { now(): number };
}

interface Told {
  at: number;
  active: number | undefined;
  /** By the names of the counters. */
  readonly counters: Map<string, Counter>;
}

function takeFamily(bytes: Uint8Array, told: Told, mayHave: (policy: string) => boolean): void {
  const name = nameOf(bytes);
  const isActive = ACTIVE.test(name);
  const { policy, what } = COUNTER.exec(name)?.groups ?? {};
  if (!isActive && (policy === undefined || !mayHave(policy))) return;
  const metric = familyIn(bytes);
  if (metric === undefined) return;
  if (metric.at !== undefined) told.at = metric.at;
  if (isActive) told.active = (told.active ?? 0) + metric.value;
  else if (policy !== undefined && (told.counters.has(name) || told.counters.size < MAX_COUNTERS)) {
    const outcome = what === 'denied' ? 'deny' : 'allow';
    told.counters.set(name, { stat: name, policy, outcome, value: metric.value });
  }
}

const MAX_SKEW_MS = 60_000;

type Counter = ToldCounters['counters'][number];

function nameOf(family: Uint8Array): string {
  let name = '';
  eachField(family, [0, family.length], (field, at, end) => {
    if (field === FAMILY_NAME && end - at <= MAX_NAME) name = Buffer.from(family.subarray(at, end)).toString('latin1');
  });
  return name;
}

function familyIn(bytes: Uint8Array): { readonly value: number; readonly at: number | undefined } | undefined {
  const { metric } = decodeMessage(MetricFamily, bytes, MAX_FAMILY_BYTES);
  const [first] = metric;
  const value = first?.counter?.value ?? first?.gauge?.value;
  if (first === undefined || typeof value !== 'number' || !Number.isFinite(value) || value < 0) return undefined;
  const at = first.timestampMs === null ? undefined : Number(int64ToBigInt(first.timestampMs));
  return { value, at };
}
