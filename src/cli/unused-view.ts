import type { GrantUsage, UsageReport } from '../evidence/index.ts';
import { formatTable } from './table.ts';
import { thousands } from './thousands.ts';

export interface ShownUsage {
  readonly report: UsageReport;
  readonly digest: string;
  readonly gaps: readonly string[];
}

/** What is granted and was never used, by principal, then rules; then how much the log says about it. */
export function formatUnused({ report, gaps }: ShownUsage): string {
  const { grants, rules, explained } = report;
  const unused = grants.filter(({ count }) => count === 0);
  const dead = rules.filter(({ used }) => used === 0);
  const common = commonConditions(grants);
  const rows = unused
    .map((grant) => unusedRow(grant, common))
    .sort(([one = ''], [other = '']) => (one < other ? -1 : Number(one > other)));
  return [
    `${thousands(unused.length)} of ${thousands(grants.length)} grants were not used by ${thousands(explained)} allows\n`,
    common.size === 0 ? '' : `all ask for: ${[...common].join('; ')}\n`,
    unused.length === 0 ? '' : `\n${formatTable(['PRINCIPAL', 'RULE', 'CONDITIONS'], rows)}`,
    dead.length === 0
      ? ''
      : `\nrules never used:\n${formatTable(
          ['RULE', 'PLACE', 'GRANTS'],
          dead.map(({ name, file, line, grants: count }) => [name, `${file}:${line}`, String(count)]),
        )}`,
    formatLimits(report, gaps),
  ].join('');
}

/** What every grant asks for tells none of them apart. */
function commonConditions(grants: readonly GrantUsage[]): ReadonlySet<string> {
  const [first, ...others] = grants;
  if (first === undefined || others.length === 0) return new Set();
  return new Set(first.conditions.filter((text) => others.every(({ conditions }) => conditions.includes(text))));
}

function unusedRow({ principal, rules, conditions }: GrantUsage, common: ReadonlySet<string>): readonly string[] {
  const isNamed = (text: string): boolean => principal !== undefined && text.includes(JSON.stringify(principal));
  const telling = conditions.filter((text) => !common.has(text) && !isNamed(text));
  const [rule] = rules;
  return [
    principal ?? 'anybody',
    rule === undefined ? '' : `${rule.file}:${rule.line}`,
    telling.join('; ') || 'no other conditions',
  ];
}

/** Why something that was used may be listed. */
function formatLimits({ unexplained, notReplayable, leftOut }: UsageReport, gaps: readonly string[]): string {
  const lines = [
    [notReplayable, 'allows lack something that the policy looks at, and may have used any grant'],
    [unexplained, 'allows are of another version of the policy: none of these grants explains them'],
    [leftOut.anonymous, 'decisions of anonymous callers do not count'],
  ] as const;
  const said = [...lines.filter(([count]) => count > 0).map(([count, text]) => `${thousands(count)} ${text}`), ...gaps];
  return said.length === 0 ? '' : `\n${said.map((line) => `${line}\n`).join('')}`;
}

/** As --output json shows it: all grants, used or not. */
export function unusedJson({ report, digest, gaps }: ShownUsage): Readonly<Record<string, unknown>> {
  const { read, explained, unexplained, notReplayable, reasons, leftOut } = report;
  return {
    policy_digest: digest,
    read,
    explained,
    unexplained,
    not_replayable: notReplayable,
    missing: reasons,
    left_out: {
      anonymous: leftOut.anonymous,
      other_policies: leftOut.otherPolicies,
      not_allowed: leftOut.notAllowed,
    },
    gaps,
    grants: report.grants.map(({ principal, conditions, rules, count, lastUsed, usedBy }) => ({
      ...(principal === undefined ? {} : { principal }),
      conditions,
      rules,
      count,
      ...(lastUsed === undefined ? {} : { last_used: lastUsed }),
      used_by: usedBy,
    })),
    rules: report.rules,
  };
}
