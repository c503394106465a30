import type { DecisionRecord } from '../evidence/index.ts';
import type { FailedCondition, NamedValue, PolicyExplanation, RulePlace } from '../policy/index.ts';
import { visibleText } from './visible-text.ts';

export interface ShownExplanation {
  readonly record: DecisionRecord;
  readonly explanation: PolicyExplanation;
  /** Of the policy that was asked now. */
  readonly digest: string;
  /** Where its files are, for places; empty: names below the policy. */
  readonly placeOf: (file: string) => string;
  /** What the reader must know about the answer. */
  readonly notes: readonly string[];
}

/** Who asked for what and what came of it, then the rule that allowed, or what was missing. */
export function formatExplanation({ record, explanation, placeOf, notes }: ShownExplanation): string {
  const { svidgate, timestamp, decision_id: id } = record;
  const outcome = svidgate.reason === '' ? svidgate.outcome : `${svidgate.outcome}, ${svidgate.reason}`;
  return [
    `${visibleText(id)} at ${visibleText(timestamp)}: ${visibleText(outcome)}\n`,
    `${visibleText(svidgate.method)} ${visibleText(svidgate.route)} of ${visibleText(svidgate.principal)}\n`,
    ...notes.map((note) => `note: ${visibleText(note)}\n`),
    '\n',
    ...(explanation.outcome === 'allow' ? formatAllow(explanation, placeOf) : formatDeny(explanation, placeOf)),
  ].join('');
}

type PlaceOf = (file: string) => string;

function formatAllow({ allowed = [] }: PolicyExplanation, placeOf: PlaceOf): readonly string[] {
  return allowed.flatMap((rule) => [
    `allowed by ${nameOf(rule)}, ${placeText(rule, placeOf)}\n`,
    ...valueLines(rule.values),
    rule.alone ? '  without this rule it is not allowed\n' : '  without this rule it is allowed all the same\n',
  ]);
}

function formatDeny(explanation: PolicyExplanation, placeOf: PlaceOf): readonly string[] {
  const { outcome, error, nearest = [], incomplete = false, notTried = 0 } = explanation;
  const first = {
    allow: '',
    deny: 'no rule allowed it\n',
    undefined: 'no rule gave a value\n',
    error: `the evaluation failed: ${visibleText(error ?? '')}\n`,
  }[outcome];
  const none = 'no conditions were found that would make it an allow by themselves\n';
  const limit = 'the search was given up after its time: there may be rules that are nearer\n';
  const rules = nearest.flatMap(({ conditions, ...rule }) => [
    `\n${nameOf(rule)}, ${placeText(rule, placeOf)}, allows it ${conditionsText(conditions.length)}:\n`,
    ...conditions.flatMap((condition) => [
      `  ${placeText(condition, placeOf)}: ${conditionText(condition)}\n`,
      ...valueLines(condition.values),
    ]),
  ]);
  const others = notTried === 0 ? [] : [`\n${notTried} more rules failed earlier and were not tried\n`];
  return [first, ...(nearest.length === 0 ? [none] : rules), ...others, ...(incomplete ? [`\n${limit}`] : [])];
}

function conditionsText(count: number): string {
  return count === 1 ? 'with one thing otherwise' : `with ${count} things otherwise`;
}

function conditionText({ taken, text, rule }: FailedCondition): string {
  const source = visibleText(text.replaceAll(/\s+/g, ' '));
  return taken === 'true' ? `${source}   must hold` : `${visibleText(rule)} must not hold: ${source}`;
}

function nameOf({ rule, title }: RulePlace): string {
  return title === undefined ? visibleText(rule) : `${visibleText(rule)} (${visibleText(title)})`;
}

function placeText({ file, line }: RulePlace, placeOf: PlaceOf): string {
  return `${placeOf(file)}:${line}`;
}

function valueLines(values: readonly NamedValue[] = []): readonly string[] {
  return values.map(({ name, value, masked = false }) => {
    const shown = masked ? 'masked in the record' : visibleText(value ?? 'undefined');
    return `      ${visibleText(name)} = ${shown}\n`;
  });
}

/** As --output json shows it. */
export function explanationJson({
  record,
  explanation,
  digest,
  notes,
}: ShownExplanation): Readonly<Record<string, unknown>> {
  const { outcome, reason, policy, policy_digest: recordedDigest } = record.svidgate;
  return {
    decision_id: record.decision_id,
    recorded: { outcome, reason, policy, policy_digest: recordedDigest },
    policy_digest: digest,
    notes,
    ...explanation,
  };
}
