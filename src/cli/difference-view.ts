import { tellingParts, type DifferenceReport, type DifferentRequest, type ShadowAnswer } from '../evidence/index.ts';
import { formatProblem } from '../policy/index.ts';
import { thousands } from './thousands.ts';
import { visibleText } from './visible-text.ts';

const CHANGES = {
  would_allow: 'allowed by the new policy only',
  would_deny: 'allowed by the old policy only',
  other_effects: 'other headers, status, body or metadata',
  would_fail: 'the new policy gives no decision',
  failed_before: 'the old policy gives no decision',
} as const;

/** Each kind of difference with the rules behind it, and the smallest request that shows it. */
export function formatDifference({ tried, different, groups, misjudged }: DifferenceReport): string {
  const notes = formatMisjudged(misjudged);
  if (different === 0) {
    return `no request tells them apart, of ${thousands(tried)} that were tried: this is no proof that none does\n${notes}`;
  }
  const shown = groups.map(({ change, rules, samples }) => {
    const places = rules.map(({ name, file, line }) => `${visibleText(file)}:${line} ${visibleText(name)}`);
    return `\n${CHANGES[change]}${places.length === 0 ? '' : `, by ${places.join(', ')}`}\n${samples.map(formatSample).join('')}`;
  });
  return `${thousands(different)} of ${thousands(tried)} requests tell them apart\n${shown.join('')}${notes}`;
}

/** What is known of a policy by its rules, where OPA's partial evaluator gets them wrong. */
function formatMisjudged({ before, after }: DifferenceReport['misjudged']): string {
  const sides = [
    ['old', before[0]],
    ['new', after[0]],
  ] as const;
  return sides
    .map(([side, problem]) =>
      problem === undefined
        ? ''
        : `\nwhich rules of the ${side} policy allow is not told, and less of it was tried: ${visibleText(formatProblem(problem))}\n`,
    )
    .join('');
}

function formatSample({ request, before, after }: DifferentRequest): string {
  const parts = Object.entries(tellingParts(request)).map(
    ([path, value]) => `  ${visibleText(path)}: ${value === null ? 'not there' : visibleText(JSON.stringify(value))}\n`,
  );
  return `  old: ${formatAnswer(before)}, new: ${formatAnswer(after)}\n${parts.join('') || '  any request\n'}`;
}

function formatAnswer(answer: ShadowAnswer): string {
  const effects = 'effects' in answer && answer.effects !== undefined ? answer.effects : {};
  const told = Object.entries(effects).filter(([, value]) => !(Array.isArray(value) && value.length === 0));
  const reason = answer.reason === '' || answer.reason === 'policy_denied' ? '' : ` (${answer.reason})`;
  const more = told.length === 0 ? '' : ` ${visibleText(JSON.stringify(Object.fromEntries(told)))}`;
  return `${answer.kind}${reason}${more}`;
}

/** As --output json shows it. */
export function differenceJson({
  tried,
  different,
  groups,
  misjudged,
}: DifferenceReport): Readonly<Record<string, unknown>> {
  return {
    tried,
    different,
    misjudged,
    groups: groups.map(({ change, rules, count, samples }) => ({
      change,
      rules,
      count,
      samples: samples.map(({ request, before, after }) => ({
        request,
        telling: tellingParts(request),
        before,
        after,
      })),
    })),
  };
}
