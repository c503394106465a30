/** `npm run prove`: the chaos tests with larger counts, for some minutes. What they found last stands in docs/resilience.md. */
import { join } from 'node:path';
import { runNode } from '../../bin/run-node.mjs';
import { nodePath, root } from '../setup/paths.mjs';

const COUNTS = { SVIDGATE_CHAOS_KILLS: '40', SVIDGATE_CHAOS_PROGRAMS: '20', SVIDGATE_CHAOS_CHANGES: '300' };

const tests = ['chaos-rotation', 'chaos-callers'].map((file) => `test/e2e/${file}.test.ts`);
runNode(nodePath(), [join(root, 'tools/test/run.ts'), '--test-timeout=7200000', ...tests], {
  ...process.env,
  ...COUNTS,
});
