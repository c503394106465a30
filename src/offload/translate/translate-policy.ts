import { hash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  denyQuery,
  evaluatePartially,
  formatProblem,
  offeredBuiltins,
  refOf,
  rulesOf,
  type Conjunction,
  type GrantRule,
  type PolicyProblem,
  type PolicySnapshot,
  type RegoProgram,
  type Residual,
} from '../../policy/index.ts';
import type { RequestMatch } from '../offload-rules.ts';
import type { GateFacts, LeftRule, TranslatedPolicy, TranslatedRule } from '../translated-policy.ts';
import { createBodyTranslator, type BodyTranslator } from './conditions.ts';
import { not } from './formula.ts';
import {
  leftByConflict,
  leftByEffects,
  leftByFindings,
  leftByGuard,
  leftByRefusal,
  leftWithout,
} from './left-rules.ts';
import { IS_PLAIN } from './plain-requests.ts';
import { requestMatch } from './request-match.ts';
import { draftRules, guardedMatch, guardsFor, mergeRules, outerMatch, type DraftRule } from './rules.ts';
import type { Translators } from './terms.ts';
import { TRANSLATORS } from './translators.ts';

export interface TranslateOptions {
  /** Its name. */
  readonly policy: string;
  readonly snapshot: PolicySnapshot;
  readonly entrypoint: string;
  readonly program: RegoProgram;
  readonly gate: GateFacts;
  /** Whether `outer` is asked for. Default false. */
  readonly fastDeny?: boolean;
  readonly signal: AbortSignal;
  /** Default: what svidgate translates. */
  readonly translators?: Translators;
}

/** Conditions of one way to allow, and what they come to. */
interface Way {
  readonly conjunction: Conjunction;
  readonly translator: BodyTranslator;
}

type UnnamedRule = Omit<TranslatedRule, 'id'>;

/** Envoy walks through its rules one after the other. */
const MAX_RULES = 20_000;
/** Translated in one go, so that decisions are not kept waiting. */
const WAYS_A_TURN = 100;

/**
 * Says what of a policy Envoy can decide by itself. Rejects as RegoProgram.run does, or with the reason of the signal; a policy
 * that cannot be evaluated without an input is left to the call as a whole.
 */
export async function translatePolicy(options: TranslateOptions): Promise<TranslatedPolicy> {
  const { policy, snapshot, entrypoint, program, gate, signal } = options;
  const ref = refOf(entrypoint);
  const result = await evaluatePartially(program, snapshot.files, {
    // Nothing but the allow: an object with more has effects, which Envoy cannot have.
    queries: [`${ref} == true`, `${ref} == {"allowed": true}`, `${ref}.allowed == true`, denyQuery(entrypoint)],
    builtins: offeredBuiltins(true),
    entrypoint,
    signal,
  });
  const nothing = { policy, digest: snapshot.digest, rules: [], ways: { all: 0, offloaded: 0 } };
  if (result.kind === 'refused')
    return { ...nothing, left: [leftByRefusal(result.problems.map(formatProblem).join('; '))] };
  const [whole, plain, objects, denies] = result.residuals;
  if (whole === undefined || plain === undefined || objects === undefined || denies === undefined) {
    return { ...nothing, left: [leftByRefusal('the evaluator left an answer out')] };
  }
  const effects = leftByEffects(plain, objects, result.deciding);
  const all = whole.conjunctions.length + plain.conjunctions.length + effects.length;
  const guards = guardsFor(gate);
  const obstacles = gate.guardsPaths || guards === undefined ? [leftByGuard()] : result.conflicts.map(leftByConflict);
  if (guards === undefined || obstacles.length > 0) return { ...nothing, left: obstacles, ways: { all, offloaded: 0 } };
  const ways = [whole, plain].flatMap((residual) => waysOf(residual, options));
  const { drafts, left, offloaded } = await translateWays(ways, options, result.deciding);
  const merged = mergeRules(drafts).map(({ mayForward, request, ...draft }): UnnamedRule => {
    return { request: guardedMatch({ mayForward, request, ...draft }, guards), ...draft };
  });
  const isTooMany = merged.length > MAX_RULES;
  const outer = options.fastDeny === true ? outerRules([whole, objects], denies, options) : undefined;
  return {
    policy,
    digest: snapshot.digest,
    rules: isTooMany ? [] : named(policy, merged),
    ...(outer === undefined ? {} : { outer: named(policy, outer, 'outer-') }),
    left: [
      ...left,
      ...effects,
      ...(isTooMany ? [leftWithout('too_large', `${merged.length} rules are too many`)] : []),
    ],
    ways: { all, offloaded: isTooMany ? 0 : offloaded },
  };
}

function waysOf(residual: Residual, { policy, translators = TRANSLATORS }: TranslateOptions): readonly Way[] {
  const translator = createBodyTranslator({ translators, policy, support: residual.support });
  return residual.conjunctions.map((conjunction) => ({ conjunction, translator }));
}

async function translateWays(
  ways: readonly Way[],
  { entrypoint, gate: facts, signal }: TranslateOptions,
  deciding: readonly PolicyProblem[],
): Promise<{ readonly drafts: readonly DraftRule[]; readonly left: readonly LeftRule[]; readonly offloaded: number }> {
  const drafts: DraftRule[] = [];
  const left: LeftRule[] = [];
  let offloaded = 0;
  for (const [index, { conjunction, translator }] of ways.entries()) {
    if (index > 0 && index % WAYS_A_TURN === 0) await nextTurn(undefined, { signal });
    const { bounds, findings } = translator.translate(conjunction.conditions);
    const found = rulesOf(conjunction.conditions, entrypoint);
    const origin = found.length > 0 ? found : deciding.map(placeOf);
    const rules = draftRules(bounds.under, { facts, origin });
    const obstacle = typeof rules === 'string' ? rules : undefined;
    if (typeof rules !== 'string') drafts.push(...rules);
    if (rules.length > 0 && obstacle === undefined) offloaded += 1;
    else left.push(leftByFindings(conjunction, { findings, rule: origin[0], obstacle }));
  }
  return { drafts, left, offloaded };
}

function placeOf({ message, file, line }: PolicyProblem): GrantRule {
  return { name: message, file, line };
}

/** Undefined where anything may be allowed, or where a deny says more than no. */
function outerRules(
  residuals: readonly Residual[],
  denies: Residual,
  options: TranslateOptions,
): readonly UnnamedRule[] | undefined {
  if (denies.conjunctions.length > 0 || denies.support.length > 0) return undefined;
  const matches: RequestMatch[] = [];
  for (const { conjunction, translator } of residuals.flatMap((residual) => waysOf(residual, options))) {
    const match = outerMatch(translator.translate(conjunction.conditions).bounds.over);
    if (match === undefined) return undefined;
    if (match !== 'nothing') matches.push(match);
  }
  const other = requestMatch(not(IS_PLAIN), 'over');
  if (other === undefined) return undefined;
  const texts = new Map([other, ...matches].map((match) => [JSON.stringify(match), match]));
  return [...texts.values()].map((request) => ({ request, peer: { kind: 'anyone', except: [] }, origin: [] }));
}

/** Names that stand for this content alone. Envoy tries rules in the order of their names: it is that of the policy. */
function named(policy: string, drafts: readonly UnnamedRule[], kind = ''): readonly TranslatedRule[] {
  const digest = hash('sha256', JSON.stringify(drafts)).slice(0, 12);
  const digits = String(drafts.length).length;
  const numberOf = (index: number): string => String(index + 1).padStart(digits, '0');
  return drafts.map((draft, index) => ({ ...draft, id: `${policy}@${digest}#${kind}${numberOf(index)}` }));
}
