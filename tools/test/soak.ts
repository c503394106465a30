/**
 * `npm run soak [-- --minutes N] [--seed N] [--write]`: half an hour of mixed traffic at the gate while policies, identities
 * and keys change. Exit code 0 when each answer was right and nothing grew. `--write` keeps the result in docs/resilience.md.
 */
import { parseArgs } from 'node:util';
import { writeSoakResult } from '../../test/soak/report.ts';
import { describeVitals, runSoak } from '../../test/soak/run-soak.ts';

const USAGE = 'usage: npm run soak [-- --minutes N] [--seed N] [--write]';

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: process.env['SVIDGATE_SOAK_MINUTES'] ?? '30' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      write: { type: 'boolean', default: false },
    },
  });
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  if (!(minutes > 0) || !Number.isInteger(seed)) {
    console.error(USAGE);
    return 2;
  }
  console.log(`soak: ${minutes} minutes with seed ${seed}`);
  const progress = (state: string): void => console.log(`soak: ${state}`);
  const result = await runSoak({ seconds: minutes * 60, seed, progress });
  for (const [what, count] of [...result.counts].sort(([a], [b]) => a.localeCompare(b)))
    console.log(`  ${String(count).padStart(9)}  ${what}`);
  console.log(
    `soak: ${result.requests} requests, ${result.wrong} wrong; heap ${result.growth.heapMbPerHour.toFixed(1)} MB/h, ` +
      `resident ${result.growth.residentMbPerHour.toFixed(1)} MB/h in the second half`,
  );
  if (result.problems.length > 0) {
    for (const seen of result.vitals) console.log(`  ${Math.round(seen.atMs / 1000)} s  ${describeVitals(seen)}`);
  }
  for (const problem of result.problems) console.error(`soak: ${problem}`);
  if (values.write) await writeSoakResult(result);
  return result.problems.length === 0 ? 0 : 1;
}
