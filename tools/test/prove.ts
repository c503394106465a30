/**
 * `npm run prove`: a million checks in search of an allow that no policy gives, millions in search of a rule for Envoy that allows
 * what its policy denies, and with larger counts the chaos tests, the replay of what Envoy asked, the model of Envoy's matchers
 * against Envoy, and differences planted in policies, for some minutes each. What they found last stands in docs/resilience.md.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { runNode } from '../../bin/run-node.mjs';
import { nodePath, root } from '../setup/paths.mjs';

const CHECKS = '1000000';
/** To each policy. */
const OFFLOAD_REQUESTS = '100000';
const COUNTS = {
  SVIDGATE_CHAOS_KILLS: '40',
  SVIDGATE_CHAOS_PROGRAMS: '20',
  SVIDGATE_CHAOS_CHANGES: '300',
  SVIDGATE_LOG_KILLS: '40',
  SVIDGATE_RECORDED_REQUESTS: '20000',
  SVIDGATE_DIFFERENCES: '100',
  SVIDGATE_OFFLOAD_COMPARED: '36000',
};

// Alone, and before: the chaos tests measure times.
for (const [program, count] of [
  ['test/hunt/main.ts', CHECKS],
  ['test/offload/hunt/main.ts', OFFLOAD_REQUESTS],
] as const) {
  const args = ['--disable-warning=ExperimentalWarning', join(root, program), count];
  const { status } = spawnSync(nodePath(), args, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const tests = [
  'test/unit/evidence/difference/planted.test.ts',
  'test/integration/decision-log-kill.test.ts',
  'test/offload/envoy/compare.test.ts',
  ...['decision-log-replay', 'chaos-rotation', 'chaos-callers'].map((file) => `test/e2e/${file}.test.ts`),
];
runNode(nodePath(), [join(root, 'tools/test/run.ts'), '--test-timeout=7200000', ...tests], {
  ...process.env,
  ...COUNTS,
});
