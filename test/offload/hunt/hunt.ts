/**
 * The hunt for an unsound rule: requests near what a policy allows, each through the model of Envoy's matchers with the set that
 * its caller is sent, and through the whole gate. What Envoy would let through by itself, the gate must allow, and change nothing;
 * what Envoy would refuse by itself, the gate must not allow.
 */
import {
  ENVOY_READINGS,
  offloadMatcher,
  type OffloadMatch,
  type OffloadSet,
  type TranslatedPolicy,
} from '../../../src/offload/index.ts';
import { restrict, setFor, type PeerFacts } from '../../../src/offload/restrict.ts';
import type { OpenedPolicy } from '../../../src/policy/index.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';
import { createRandom, type Random } from '../../hunt/random.ts';
import { MENDED } from '../../hunt/events.ts';
import type { Change } from '../../hunt/timeline.ts';
import { PLAIN_DRAW, smallerDraws, type Draw } from './draw.ts';
import { mutate, type Vocabulary } from './mutate.ts';
import { envoyRequestOf } from './people-seen.ts';
import { wordsOf, type HuntPolicy } from './policy.ts';
import type { Answer, Stage } from './stage.ts';

/** A policy that is compiled, and what was made of it for Envoy. */
export interface Prepared {
  readonly policy: HuntPolicy;
  readonly opened: OpenedPolicy;
  readonly translated: TranslatedPolicy;
}

/** What may be wrong on purpose. */
export interface Spoil {
  readonly translated?: (translated: TranslatedPolicy) => TranslatedPolicy;
  readonly facts?: (facts: PeerFacts) => PeerFacts;
  readonly set?: (set: OffloadSet) => OffloadSet;
}

export interface HuntFailure {
  readonly what: 'unsound' | 'wrongly_refused';
  readonly policy: string;
  readonly moment: MomentName;
  /** The rule that let it through. */
  readonly rule?: string;
  readonly answer: Answer;
  readonly draw: Draw;
}

export interface HuntFigures {
  readonly checks: number;
  /** Those that the gate was asked about whatever Envoy does. */
  readonly sampled: number;
  /** Of the sampled, by the gate. */
  readonly allowed: number;
  /** Of the sampled, without a call. */
  readonly offloaded: number;
  /** Of the sampled, without a call. */
  readonly refused: number;
  readonly failures: readonly HuntFailure[];
}

export interface HuntOptions {
  readonly seed: number;
  readonly requests: number;
  readonly spoil?: Spoil;
  /** Default: all. */
  readonly moments?: readonly MomentName[];
  /** After which it ends. Default 20. */
  readonly maxFailures?: number;
  /** Of requests that Envoy asks about, one in so many is asked about here, too. Default 1. */
  readonly askEvery?: number;
}

/** What is the case while a part of the requests is asked; most are asked in the first. */
const MOMENTS = {
  plain: {},
  'bob is revoked': { revokedIds: ['spiffe://example.test/bob'] },
  'a serial of alice is revoked': { revokedCertificates: ['alice'] },
  'alice and mallory are revoked': { revokedIds: ['spiffe://example.test/alice', 'spiffe://example.test/mallory'] },
  'the partner is gone': { roots: ['first'] },
  'alice has no entry': { unregistered: ['spiffe://example.test/alice'] },
} as const satisfies Readonly<Record<string, Change>>;
export type MomentName = keyof typeof MOMENTS;

const FIRST_SHARE = 0.6;
const BATCH = 64;

export async function hunt(prepared: Prepared, stage: Stage, options: HuntOptions): Promise<HuntFigures> {
  const names = options.moments ?? (Object.keys(MOMENTS) as readonly MomentName[]);
  let total: HuntFigures = NOTHING;
  for (const [index, name] of names.entries()) {
    const share = names.length === 1 ? 1 : index === 0 ? FIRST_SHARE : (1 - FIRST_SHARE) / (names.length - 1);
    const requests = Math.ceil(options.requests * share);
    await using scene = await setScene(name, { prepared, stage, options });
    total = sum(total, await huntIn(scene, { ...options, requests, seed: options.seed + index }));
    if (total.failures.length >= (options.maxFailures ?? 20)) break;
  }
  return total;
}

export const NOTHING: HuntFigures = { checks: 0, sampled: 0, allowed: 0, offloaded: 0, refused: 0, failures: [] };

export function sum(one: HuntFigures, other: HuntFigures): HuntFigures {
  return {
    checks: one.checks + other.checks,
    sampled: one.sampled + other.sampled,
    allowed: one.allowed + other.allowed,
    offloaded: one.offloaded + other.offloaded,
    refused: one.refused + other.refused,
    failures: [...one.failures, ...other.failures],
  };
}

/** One moment of one policy. */
interface Scene extends AsyncDisposable {
  readonly name: MomentName;
  readonly prepared: Prepared;
  readonly stage: Stage;
  /** By Envoys of all versions: what one of them allows or refuses. */
  match(draw: Draw): OffloadMatch;
  ask(draw: Draw): Promise<Answer>;
}

async function setScene(
  name: MomentName,
  about: { readonly prepared: Prepared; readonly stage: Stage; readonly options: Pick<HuntOptions, 'spoil'> },
): Promise<Scene> {
  const { prepared, stage } = about;
  const spoil: Spoil = about.options.spoil ?? {};
  await stage.change({ ...MENDED, ...MOMENTS[name] });
  const registers = name === 'alice has no entry';
  const facts = (spoil.facts ?? same)(stage.facts(registers));
  const restricted = restrict((spoil.translated ?? same)(prepared.translated), facts);
  const matchers = new Map<string, ReturnType<typeof offloadMatcher>>();
  const matcherFor = (callerIds: readonly string[]): ReturnType<typeof offloadMatcher> => {
    const key = callerIds.join(' ');
    const set = setFor(restricted, callerIds.map(parseSpiffeId), { fastDeny: true });
    const matcher = matchers.get(key) ?? offloadMatcher((spoil.set ?? same)(set));
    matchers.set(key, matcher);
    return matcher;
  };
  return {
    name,
    prepared,
    stage,
    match(draw) {
      const request = envoyRequestOf(draw, stage.cast);
      const matches = matcherFor(draw.callerIds);
      const all = Object.values(ENVOY_READINGS).map((reading) => matches(request, reading));
      const allow = all.find((match) => match.allow !== undefined)?.allow;
      return { ...(allow === undefined ? {} : { allow }), refused: all.some(({ refused }) => refused) };
    },
    ask: (draw) => stage.ask(draw, { opened: prepared.opened, registers }),
    [Symbol.asyncDispose]: () => stage.change(MENDED),
  };
}

const same = <T>(value: T): T => value;

async function huntIn(scene: Scene, options: HuntOptions): Promise<HuntFigures> {
  const { prepared, stage } = scene;
  const vocabulary = vocabularyOf(prepared.policy, stage);
  let total = NOTHING;
  for (let from = 0; from < options.requests; from += BATCH) {
    const count = Math.min(BATCH, options.requests - from);
    const each = await Promise.all(
      Array.from({ length: count }, (_, index) => {
        const draw = drawNear(prepared.policy, createRandom(options.seed, from + index), vocabulary);
        return tryOne(draw, scene, (from + index) % (options.askEvery ?? 1) === 0);
      }),
    );
    total = each.reduce(sum, total);
    if (total.failures.length >= (options.maxFailures ?? 20)) break;
  }
  return total;
}

async function tryOne(draw: Draw, scene: Scene, isSampled = true): Promise<HuntFigures> {
  const match = scene.match(draw);
  if (!isSampled && match.allow === undefined && !match.refused) return { ...NOTHING, checks: 1 };
  const answer = await scene.ask(draw);
  const failure = failureOf(draw, { match, answer, scene });
  const failures = failure === undefined ? [] : [failure];
  if (!isSampled) return { ...NOTHING, checks: 1, failures };
  return {
    checks: 1,
    sampled: 1,
    allowed: Number(answer.isAllowed),
    offloaded: Number(match.allow !== undefined),
    refused: Number(match.refused),
    failures,
  };
}

function failureOf(
  draw: Draw,
  { match, answer, scene }: { readonly match: OffloadMatch; readonly answer: Answer; readonly scene: Scene },
): HuntFailure | undefined {
  const about = { policy: scene.prepared.policy.name, moment: scene.name, answer, draw };
  if (match.allow !== undefined && !(answer.isAllowed && answer.isPlain)) {
    return { what: 'unsound', rule: match.allow, ...about };
  }
  return match.refused && answer.isAllowed ? { what: 'wrongly_refused', ...about } : undefined;
}

export function vocabularyOf(policy: HuntPolicy, { cast }: Stage): Vocabulary {
  const { credentials, tokens } = cast.people;
  return {
    certificates: [...credentials.values()].filter(({ der }) => der.length > 0).map(({ name }) => name),
    // Those that are good more often: of others there are many.
    tokens: [...tokens.keys(), ...Array.from({ length: 6 }, () => ['svid', 'good']).flat()].filter(
      (name) => !name.startsWith('once') && name !== 'huge claims',
    ),
    hops: [...cast.hops.keys()].filter((name) => name !== 'long'),
    words: wordsOf(policy),
  };
}

const CHANGES = [0, 0, 1, 1, 1, 1, 2, 3];

export function drawNear({ aims }: HuntPolicy, random: Random, vocabulary: Vocabulary): Draw {
  let draw: Draw = { ...PLAIN_DRAW, ...random.pick(aims) };
  for (let changes = random.pick(CHANGES); changes > 0; changes -= 1) draw = mutate(draw, random, vocabulary);
  return draw;
}

/** One request again. */
export async function askAgain(
  asked: Pick<HuntFailure, 'moment' | 'draw'>,
  about: Parameters<typeof setScene>[1],
): Promise<HuntFailure | undefined> {
  await using scene = await setScene(asked.moment, about);
  return (await tryOne(asked.draw, scene)).failures[0];
}

/** The least request that still fails in the same way. */
export async function shrink(failure: HuntFailure, about: Parameters<typeof setScene>[1]): Promise<HuntFailure> {
  await using scene = await setScene(failure.moment, about);
  const again = async (draw: Draw): Promise<HuntFailure | undefined> => {
    const found = (await tryOne(draw, scene)).failures[0];
    return found?.what === failure.what ? found : undefined;
  };
  let least = failure;
  for (;;) {
    const less = await firstOf(smallerDraws(least.draw), again);
    if (less === undefined) return least;
    least = less;
  }
}

async function firstOf(
  draws: Iterable<Draw>,
  again: (draw: Draw) => Promise<HuntFailure | undefined>,
): Promise<HuntFailure | undefined> {
  for (const draw of draws) {
    const failure = await again(draw);
    if (failure !== undefined) return failure;
  }
  return undefined;
}
