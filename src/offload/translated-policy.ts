import type { GrantRule } from '../policy/index.ts';
import { isSpiffeId, matchesSpiffeId, type SpiffeId, type SpiffeIdPattern } from '../spiffe/index.ts';
import type { OffloadRule, TextMatch } from './offload-rules.ts';

/**
 * What the gate does with a request before it asks the policy, as far as Envoy's rules have to know it: what would be refused
 * there is left to the call.
 */
export interface GateFacts {
  /** Whether bodies are parsed for policies: one that is not what its type says is refused. */
  readonly parsesBodies: boolean;
  /** Lower-case names of the headers that tokens are read from; none, where no token is verified. */
  readonly tokenHeaders: readonly string[];
  /** Whose `x-forwarded-client-cert` is believed: a client in it may be revoked. Peers with one and such a header are left to the call. */
  readonly hops: readonly SpiffeIdPattern[];
  /** Whether a path guard looks at paths first: nothing is offloaded then. */
  readonly guardsPaths: boolean;
}

/** About one SPIFFE ID of a caller. */
export type CallerIdTest =
  | { readonly kind: 'text'; readonly match: TextMatch }
  | { readonly kind: 'all' | 'any'; readonly of: readonly CallerIdTest[] }
  | { readonly kind: 'not'; readonly of: CallerIdTest };

/** About the attested Envoy that asks: decided when a set is made for it. Empty `all` holds, empty `any` does not. */
export type CallerCondition =
  /** One of its SPIFFE IDs passes the test. */
  | { readonly kind: 'some_id'; readonly test: CallerIdTest }
  | { readonly kind: 'all' | 'any'; readonly of: readonly CallerCondition[] }
  | { readonly kind: 'not'; readonly of: CallerCondition };

/** A rule for those callers for whom the condition holds; absent: for all. */
export interface TranslatedRule extends OffloadRule {
  readonly caller?: CallerCondition;
}

/** Why something is left to the call; a closed set. */
export type LeftReason =
  /** Two rules of one name may give different values, which is a deny. */
  | 'may_conflict'
  /** The allow changes the request or the response, or has metadata or a token. */
  | 'has_effects'
  /** Reads what is known to the gate alone: the body, tokens, forwarded certificates, metadata, what svidgate says of the peer beside its ID. */
  | 'gate_only'
  /** Depends on the clock, chance, or the network. */
  | 'not_constant'
  /** Reads what Envoy's matchers cannot see, such as sizes. */
  | 'not_visible'
  /** A builtin or a form of Rego that has no matcher. */
  | 'no_matcher'
  /** Would need more or larger rules than Envoy takes. */
  | 'too_large'
  /** Something in the gate's configuration stands before the policy. */
  | 'gate_guard'
  /** The policy does not allow it: the conditions exclude each other, or what the gate asks for. */
  | 'cannot_hold'
  /** The partial evaluator refused the policy. */
  | 'not_evaluated';

/** A part of a policy that is left to the call. */
export interface LeftRule {
  /** The rule that it belongs to; absent where that is not known. */
  readonly rule?: GrantRule;
  /** Rego, one condition a line. */
  readonly conditions: string;
  readonly reason: LeftReason;
  /** What caused it, in one sentence. */
  readonly message: string;
  /** Where that stands, from 1; absent where it is not known. */
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  /** How the author makes it offloadable; absent where there is no way. */
  readonly hint?: string;
}

/** What of a policy Envoy may decide by itself. */
export interface TranslatedPolicy {
  /** Its name. */
  readonly policy: string;
  /** Of the snapshot that it was made from. */
  readonly digest: string;
  readonly rules: readonly TranslatedRule[];
  /** What may be allowed at all, for any caller: `fast_deny`. Absent where that was not asked for, or cannot be said. */
  readonly outer?: readonly OffloadRule[];
  readonly left: readonly LeftRule[];
  /** How many ways to allow there are, and how many of them, in whole or in part, became rules. */
  readonly ways: { readonly all: number; readonly offloaded: number };
}

/** Whether a condition holds for who asks with these SPIFFE IDs. */
export function holdsForCaller(condition: CallerCondition | undefined, ids: readonly SpiffeId[]): boolean {
  if (condition === undefined) return true;
  switch (condition.kind) {
    case 'some_id':
      return ids.some((id) => passes(condition.test, id));
    case 'all':
      return condition.of.every((each) => holdsForCaller(each, ids));
    case 'any':
      return condition.of.some((each) => holdsForCaller(each, ids));
    case 'not':
      return !holdsForCaller(condition.of, ids);
  }
}

function passes(test: CallerIdTest, id: SpiffeId): boolean {
  switch (test.kind) {
    case 'text':
      return matchesText(test.match, id);
    case 'all':
      return test.of.every((each) => passes(each, id));
    case 'any':
      return test.of.some((each) => passes(each, id));
    case 'not':
      return !passes(test.of, id);
  }
}

/** Whether a hop may be among the peers with this ID. */
export function isHop(hops: readonly SpiffeIdPattern[], id: string): boolean {
  return isSpiffeId(id) && hops.some((pattern) => matchesSpiffeId(pattern, id));
}

const compiled = new WeakMap<TextMatch, RegExp>();

function compiledRegex(match: Extract<TextMatch, { regex: string }>): RegExp {
  const regex = compiled.get(match) ?? new RegExp(`^(?:${match.regex})$`, 'su');
  compiled.set(match, regex);
  return regex;
}

/** Regexes come from the translator: they mean the same to RE2 and here, for the texts that SPIFFE IDs are. */
export function matchesText(match: TextMatch, text: string): boolean {
  switch (match.kind) {
    case 'exact':
      return text === match.text;
    case 'prefix':
      return text.startsWith(match.text);
    case 'suffix':
      return text.endsWith(match.text);
    case 'contains':
      return text.includes(match.text);
    case 'regex':
      return compiledRegex(match).test(text);
  }
}
