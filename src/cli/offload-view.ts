import {
  showRules,
  type CallerCondition,
  type CallerIdTest,
  type LeftRule,
  type OffloadSet,
  type TextMatch,
  type TranslatedPolicy,
  type TranslatedRule,
} from '../offload/index.ts';
import type { SpiffeId } from '../spiffe/index.ts';
import { callerSet, toldRules, type OffloadShare } from './offload-share.ts';
import { placeOf } from './policy-problems.ts';
import { thousands } from './thousands.ts';
import { visibleText } from './visible-text.ts';
import { yamlText } from './yaml-text.ts';

/** What is known of one policy. */
export interface ShownOffload {
  readonly path: string;
  readonly entrypoint: string;
  /** With peers told one by one as far as they are known. */
  readonly translated: TranslatedPolicy;
  /** Of rules that match peers by a part of their SPIFFE ID, by the id of the rule. */
  readonly open: ReadonlyMap<string, OpenPeers>;
  /** Why nothing is offloaded as it is configured, in words. */
  readonly obstacle?: string;
  /** With a decision log. */
  readonly share?: OffloadShare;
  readonly gaps?: readonly string[];
}

export interface OpenPeers {
  readonly of: readonly TextMatch[];
  /** How many that have an entry are told; absent where entries are not known. */
  readonly known?: number;
}

/** Of lines; regular expressions are longer. */
const LONG = 120;

interface ViewOptions {
  readonly explain: boolean;
  readonly callers: readonly SpiffeId[];
}

/** One rule of the policy, with what became of it. */
interface RuleView {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly rules: readonly TranslatedRule[];
  readonly left: readonly LeftRule[];
}

/** Rule by rule in the order of the files, then how much of a decision log needs no call. */
export function formatOffloads(shown: readonly ShownOffload[], options: ViewOptions): string {
  return shown.map((each) => formatOffload(each, options)).join('\n');
}

function formatOffload(shown: ShownOffload, { explain, callers }: ViewOptions): string {
  const { path, translated, open, obstacle, share, gaps = [] } = shown;
  const { policy, ways } = translated;
  const { untold } = toldRules(translated);
  const own = rulesFor(translated, callers);
  const [offloaded, all] = [thousands(Math.max(0, ways.offloaded - untold.length)), thousands(ways.all)];
  const lines = [
    `${visibleText(policy)}: ${offloaded} of ${all} ways to allow need no call, in ${counted(own.length, 'rule')} of Envoy`,
    ...(obstacle === undefined ? [] : [`  not in force: ${visibleText(obstacle)}`]),
    ...ruleViews([...translated.left, ...untold.map(leftUntold)], own).flatMap((rule) => [
      '',
      ...formatRule(rule, { path, explain, translated, open }),
    ]),
    ...(share === undefined ? [] : ['', ...formatShare(share, gaps)]),
  ];
  return `${lines.join('\n')}\n`;
}

/** What a caller with these IDs is sent; every rule that somebody is, without any. */
function rulesFor(translated: TranslatedPolicy, callers: readonly SpiffeId[]): readonly TranslatedRule[] {
  return callers.length === 0 ? toldRules(translated).told : callerSet(translated, callers).allow;
}

function leftUntold({ origin }: TranslatedRule): LeftRule {
  const [rule] = origin;
  return {
    ...(rule === undefined ? {} : { rule }),
    conditions: '',
    reason: 'no_matcher',
    message: 'Envoy cannot be told that a certificate has this SPIFFE ID and no other',
  };
}

interface RuleOptions {
  readonly path: string;
  readonly explain: boolean;
  readonly translated: TranslatedPolicy;
  readonly open: ShownOffload['open'];
}

function formatRule(view: RuleView, { path, explain, translated, open }: RuleOptions): readonly string[] {
  const { name, file, line, rules, left } = view;
  const place = file === '' ? path : `${placeOf(path, { file })}:${line}`;
  const state = left.length === 0 ? 'offloaded' : rules.length === 0 ? 'left to the call' : 'offloaded in part';
  const title = name === '' ? place : `${place} ${visibleText(name)}`;
  return [
    `${title}: ${state}`,
    ...new Set(rules.flatMap(({ id }) => formatOpen(open.get(id)))),
    ...(explain ? rules.flatMap((rule) => formatRbac(rule, translated)) : []),
    ...withoutRepeats(left).flatMap((each) => formatLeft(each, path)),
  ];
}

function formatOpen(open: OpenPeers | undefined): readonly string[] {
  if (open === undefined) return [];
  const { of, known } = open;
  const which = of
    .map((match) => `${match.kind} ${visibleText(match.kind === 'regex' ? match.regex : match.text)}`)
    .join(', ');
  const told = known === undefined ? 'those with an entry, told one by one' : counted(known, 'registered ID');
  return [`  peers by ${which}: ${told}`];
}

/** The policy of the filter alone, without what takes many lines and says little; `--output yaml` has all of it. */
function formatRbac(rule: TranslatedRule, translated: TranslatedPolicy): readonly string[] {
  const { shadow_rules: rules } = showRules(setOf(translated, [rule])) as {
    readonly shadow_rules: { readonly policies: object };
  };
  const some = rule.caller === undefined ? [] : [`    # for ${callerText(rule.caller)}`];
  const text = yamlText(brief(rules.policies))
    .trimEnd()
    .split('\n')
    .map((line) => `    ${line.length <= LONG ? line : `${line.slice(0, LONG)}…`}`);
  const headers = (rule.headers ?? []).map(
    ({ name, oneOf }) =>
      `      # condition: header ${name} is ${oneOf.map((each) => JSON.stringify(each)).join(' or ')}`,
  );
  return [...some, ...text, ...headers];
}

/** Without the syntax tree of conditions, and how Envoy is told of other SPIFFE IDs. */
function brief(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(brief);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== 'condition')
      .map(([key, each]) => [key, key === 'not_id' && isOthers(each) ? 'any other URI SAN' : brief(each)]),
  );
}

function isOthers(value: unknown): boolean {
  const text = JSON.stringify(value);
  return text.includes('mtls_authenticated') && text.includes('safe_regex');
}

/** Which Envoys are sent it. */
function callerText(condition: CallerCondition): string {
  switch (condition.kind) {
    case 'some_id':
      return `Envoys with a SPIFFE ID that is ${testText(condition.test)}`;
    case 'not':
      return `all but ${callerText(condition.of)}`;
    case 'all':
    case 'any': {
      const join = condition.kind === 'all' ? ' and ' : ' or ';
      const none = condition.kind === 'all' ? 'all Envoys' : 'no Envoy';
      return condition.of.length === 0 ? none : condition.of.map((each) => `(${callerText(each)})`).join(join);
    }
  }
}

function testText(test: CallerIdTest): string {
  switch (test.kind) {
    case 'text':
      return visibleText(
        test.match.kind === 'regex' ? `like ${test.match.regex}` : `${test.match.kind} ${test.match.text}`,
      );
    case 'not':
      return `not ${testText(test.of)}`;
    case 'all':
    case 'any':
      return test.of.map((each) => `(${testText(each)})`).join(test.kind === 'all' ? ' and ' : ' or ');
  }
}

function setOf({ policy, digest }: TranslatedPolicy, allow: readonly TranslatedRule[]): OffloadSet {
  return { policy, policyDigest: digest, allow };
}

function counted(count: number, what: string): string {
  return `${thousands(count)} ${what}${count === 1 ? '' : 's'}`;
}

/** Rows of a table that are left for one reason are one. */
function withoutRepeats(left: readonly LeftRule[]): readonly (LeftRule & { readonly count: number })[] {
  const found = new Map<string, LeftRule & { count: number }>();
  for (const each of left) {
    const key = `${each.file}:${each.line}:${each.column}:${each.message}`;
    const before = found.get(key);
    if (before === undefined) found.set(key, { ...each, count: 1 });
    else before.count += 1;
  }
  return [...found.values()];
}

function formatLeft(left: LeftRule & { readonly count: number }, path: string): readonly string[] {
  const { file, line, column, message, reason, hint, conditions, count } = left;
  const place = file === undefined ? '' : `${[placeOf(path, { file }), line, column].filter(Boolean).join(':')}: `;
  const times = count === 1 ? '' : `, ${thousands(count)} times`;
  const [first = '', ...others] = conditions.split('\n').filter((each) => each !== '');
  const more = others.length === 0 ? '' : ` and ${others.length} more`;
  return [
    `  ${place}${visibleText(message)} (${reason}${times})`,
    ...(first === '' || file !== undefined ? [] : [`    ${visibleText(first)}${more}`]),
    ...(hint === undefined ? [] : [`    ${visibleText(hint)}`]),
  ];
}

function formatShare(share: OffloadShare, gaps: readonly string[]): readonly string[] {
  const { decisions, allowed, refused, called, unknown, otherwise, otherwiseCount } = share;
  if (decisions === 0) return ['no decision of it is recorded', ...gaps];
  const percent = ((100 * (allowed + refused)) / decisions).toFixed(1);
  return [
    `of ${thousands(decisions)} recorded decisions ${thousands(allowed + refused)} (${percent} %) need no call`,
    ...(refused === 0 ? [] : [`  ${thousands(refused)} of them are refused by Envoy`]),
    `  ${thousands(called)} take one`,
    ...(unknown === 0 ? [] : [`  ${thousands(unknown)} lack what rules look at, and may or may not take one`]),
    ...(otherwiseCount === 0
      ? []
      : [
          `  ${thousands(otherwiseCount)} were denied, by another policy or for what svidgate knows: ${otherwise.map(visibleText).join(', ')}`,
        ]),
    ...gaps,
  ];
}

/** Rules by the place of the one of the entrypoint; what has none comes last. */
function ruleViews(left: readonly LeftRule[], rules: readonly TranslatedRule[]): readonly RuleView[] {
  const views = new Map<
    string,
    { name: string; file: string; line: number; rules: TranslatedRule[]; left: LeftRule[] }
  >();
  const viewOf = (rule: { readonly name: string; readonly file: string; readonly line: number } | undefined) => {
    const { name, file, line } = rule ?? { name: '', file: '', line: 0 };
    const key = `${file}:${line}`;
    const view = views.get(key) ?? { name, file, line, rules: [], left: [] };
    views.set(key, view);
    return view;
  };
  for (const rule of rules) {
    const entry = rule.origin[0]?.name;
    const places = rule.origin.filter(({ name }) => name === entry);
    for (const place of places.length === 0 ? [undefined] : places) viewOf(place).rules.push(rule);
  }
  for (const each of left) viewOf(each.rule).left.push(each);
  return [...views.values()].sort(
    (one, other) =>
      Number(one.file === '') - Number(other.file === '') ||
      (one.file < other.file ? -1 : Number(one.file > other.file)) ||
      one.line - other.line,
  );
}

/** As --output json shows it. */
export function offloadsJson(shown: readonly ShownOffload[], { callers }: ViewOptions): string {
  const policies = shown.map(({ path, entrypoint, translated, open, obstacle, share, gaps }) => ({
    policy: translated.policy,
    path,
    entrypoint,
    policy_digest: translated.digest,
    ...(obstacle === undefined ? {} : { obstacle }),
    ways: translated.ways,
    rules: rulesFor(translated, callers).map((rule) => ({
      ...rule,
      ...(open.has(rule.id) ? { peers_by: open.get(rule.id) } : {}),
      rbac: showRules(setOf(translated, [rule])),
    })),
    left: translated.left,
    ...(share === undefined
      ? {}
      : {
          recorded: {
            decisions: share.decisions,
            allowed: share.allowed,
            refused: share.refused,
            called: share.called,
            unknown: share.unknown,
            denied_then: share.otherwiseCount,
            by_rule: Object.fromEntries(share.byRule),
            gaps,
          },
        }),
  }));
  return `${JSON.stringify({ policies })}\n`;
}

/** RBAC filters as they are sent to a caller, or to one for whom all rules are; one document each. */
export function offloadsYaml(shown: readonly ShownOffload[], { callers }: ViewOptions): string {
  return shown
    .map(({ translated }) => {
      const { outer } = translated;
      const set = setOf(translated, rulesFor(translated, callers));
      return yamlText(showRules({ ...set, ...(outer === undefined ? {} : { outer }) }));
    })
    .join('---\n');
}
