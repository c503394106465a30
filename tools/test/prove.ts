/**
 * `npm run prove`: a million checks in search of an allow that no policy gives, and with larger counts the chaos tests, the
 * replay of what Envoy asked, and differences planted in policies, for some minutes each. What they found last stands in docs/resilience.md.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { runNode } from '../../bin/run-node.mjs';
import { nodePath, root } from '../setup/paths.mjs';

const CHECKS = '1000000';
const COUNTS = {
  SVIDGATE_CHAOS_KILLS: '40',
  SVIDGATE_CHAOS_PROGRAMS: '20',
  SVIDGATE_CHAOS_CHANGES: '300',
  SVIDGATE_LOG_KILLS: '40',
  SVIDGATE_RECORDED_REQUESTS: '20000',
  SVIDGATE_DIFFERENCES: '100',
};

// Alone, and before: the chaos tests measure times.
const { status } = spawnSync(
  nodePath(),
  ['--disable-warning=ExperimentalWarning', join(root, 'test/hunt/main.ts'), CHECKS],
  { stdio: 'inherit' },
);
if (status !== 0) process.exit(status ?? 1);

const tests = [
  'test/unit/evidence/difference/planted.test.ts',
  'test/integration/decision-log-kill.test.ts',
  ...['decision-log-replay', 'chaos-rotation', 'chaos-callers'].map((file) => `test/e2e/${file}.test.ts`),
];
runNode(nodePath(), [join(root, 'tools/test/run.ts'), '--test-timeout=7200000', ...tests], {
  ...process.env,
  ...COUNTS,
});
