import { checkDecisionLogLine, isDecisionLogLine } from './decision-log-lines.ts';
import { checkLogRules, isLogRules } from './log-rules.ts';
import type { Treatment } from './treatments.ts';

/** What pages show of decision records. */
export const RECORD_TREATMENTS: readonly Treatment[] = [
  { name: 'rules about records, on a record of their page', takes: isLogRules, check: checkLogRules },
  {
    name: 'a line of the decision log, by its reader',
    takes: (block) => block.language === 'json' && isDecisionLogLine(JSON.parse(block.text)),
    check: (block) => checkDecisionLogLine(JSON.parse(block.text)),
  },
];
