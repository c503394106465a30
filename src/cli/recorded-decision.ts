import { join } from 'node:path';
import { SvidgateError } from '../core/index.ts';
import { readRecords, type DecisionRecord } from '../evidence/index.ts';
import { wrongUsage } from './command-line.ts';
import { createProgress } from './progress.ts';
import { configOf } from './server-address.ts';
import type { Terminal } from './terminal.ts';
import { thousands } from './thousands.ts';

export interface DecisionSearch {
  /** Decision logs; default: that of the configuration. */
  readonly from?: readonly string[];
  readonly config?: string;
  readonly terminal: Terminal;
}

/** The record of a decision. Throws `not_found` when no log has it. */
export async function findDecision(id: string, options: DecisionSearch): Promise<DecisionRecord> {
  const paths = options.from ?? [await configuredLog(options)];
  const say = createProgress(options.terminal);
  const records = readRecords(paths, {
    onProgress: (at) =>
      say(() => `${thousands(at.records)} records, ${Math.floor((100 * at.readBytes) / Math.max(1, at.totalBytes))} %`),
  });
  for await (const record of records) {
    if (record.decision_id === id) return record;
  }
  const { damaged } = records.counts;
  const gaps = damaged === 0 ? '' : `, of which ${thousands(damaged)} lines are damaged`;
  throw new SvidgateError('not_found', `no decision ${id} in ${paths.join(', ')}${gaps}`);
}

async function configuredLog({ config }: DecisionSearch): Promise<string> {
  if (config === undefined) {
    throw wrongUsage('which decision log? Name it with --from PATH, or the configuration with --config FILE');
  }
  const { dataDir, decisionLog } = await configOf({ config });
  return decisionLog?.folder ?? join(dataDir, 'decisions');
}
