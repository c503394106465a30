/**
 * `npm run prove` and `npm run soak`: the chaos tests with larger counts, for some minutes and for an hour. What they
 * found last stands in docs/resilience.md.
 */
import { join } from 'node:path';
import { runNode } from '../../bin/run-node.mjs';
import { nodePath, root } from '../setup/paths.mjs';

const COUNTS = {
  prove: { SVIDGATE_CHAOS_KILLS: '40', SVIDGATE_CHAOS_PROGRAMS: '20', SVIDGATE_CHAOS_CHANGES: '300' },
  soak: { SVIDGATE_CHAOS_KILLS: '800', SVIDGATE_CHAOS_PROGRAMS: '40', SVIDGATE_CHAOS_CHANGES: '6000' },
} as const;

const [name] = process.argv.slice(2);
if (name !== 'prove' && name !== 'soak') {
  console.error('usage: node tools/test/prove.ts prove|soak');
  process.exit(2);
}
const tests = ['chaos-rotation', 'chaos-callers'].map((file) => `test/e2e/${file}.test.ts`);
runNode(nodePath(), [join(root, 'tools/test/run.ts'), '--test-timeout=7200000', ...tests], {
  ...process.env,
  ...COUNTS[name],
});
