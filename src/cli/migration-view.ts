import type { MigrationReport } from '../evidence/index.ts';
import { formatTable } from './table.ts';
import { thousands } from './thousands.ts';

const COLUMNS = ['PRINCIPAL', 'METHOD', 'ROUTE', 'COUNT', 'ALLOWED', 'LAST SEEN'];

/** Who still sends it and where, then who does not any more. */
export function formatMigration(report: MigrationReport, gaps: readonly string[]): string {
  const { callers, unknown, leftOut, others } = report;
  const old = callers.filter(({ withOld }) => withOld > 0);
  const done = callers.filter(({ withOld, principal }) => withOld === 0 && principal !== 'unverified');
  const rows = old.flatMap(({ principal, routes }) =>
    routes.map(({ method, route, count, allowed, lastSeen }) => [
      principal,
      method,
      route,
      String(count),
      String(allowed),
      lastSeen.replace(/\.\d+Z$/, 'Z'),
    ]),
  );
  const said = [
    [unknown, 'decisions do not say whether it was sent: their policy does not look at it'],
    [others, 'requests of further kinds had no room'],
    [leftOut.anonymous, 'decisions of anonymous callers do not count'],
  ] as const;
  const lines = [...said.filter(([count]) => count > 0).map(([count, text]) => `${thousands(count)} ${text}`), ...gaps];
  return [
    `${old.length} of ${callers.length} callers still send the old credential\n`,
    rows.length === 0 ? '' : `\n${formatTable(COLUMNS, rows)}`,
    done.length === 0
      ? ''
      : `\nby identity alone:\n${formatTable(
          ['PRINCIPAL', 'COUNT'],
          done.map(({ principal, withoutOld }) => [principal, String(withoutOld)]),
        )}`,
    lines.length === 0 ? '' : `\n${lines.map((line) => `${line}\n`).join('')}`,
  ].join('');
}

/** As --output json shows it. */
export function migrationJson(report: MigrationReport, gaps: readonly string[]): Readonly<Record<string, unknown>> {
  const { read, unknown, others, leftOut, callers } = report;
  return {
    read,
    unknown,
    others,
    left_out: { anonymous: leftOut.anonymous, other_policies: leftOut.otherPolicies },
    gaps,
    callers: callers.map(({ principal, withOld, withoutOld, lastSeen, routes }) => ({
      principal,
      with_old: withOld,
      without_old: withoutOld,
      ...(lastSeen === undefined ? {} : { last_seen: lastSeen }),
      routes: routes.map(({ lastSeen: seen, ...route }) => ({ ...route, last_seen: seen })),
    })),
  };
}
