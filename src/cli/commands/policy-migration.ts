import { migrationReport, parseOldCredential } from '../../evidence/index.ts';
import { logGaps, openDecisionLog, type RecordCommandOptions } from '../decision-log.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { MigrationFlags } from '../groups/policy-records.ts';
import { formatMigration, migrationJson } from '../migration-view.ts';

/** `policy migration-report` */
export async function showMigrationReport(options: MigrationFlags & RecordCommandOptions): Promise<ExitCode> {
  const { oldCredential, name, output, terminal } = options;
  const { signal } = new AbortController();
  const credentials = oldCredential.map(parseOldCredential);
  const records = openDecisionLog(options, signal);
  const report = await migrationReport(records, {
    credentials,
    signal,
    ...(name === undefined ? {} : { policy: name }),
  });
  const gaps = logGaps(records.counts);
  terminal.out(output === 'json' ? `${JSON.stringify(migrationJson(report, gaps))}\n` : formatMigration(report, gaps));
  return EXIT.done;
}
