/**
 * `node test/hunt/main.ts CHECKS [SEED] [PROCESSES]`: the whole hunt, a part of it in each of some processes. Exit code 0 only
 * if there was no failure.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { report, runHunt } from './run-hunt.ts';

const [checks = 0, seed = randomInt(2 ** 31), processes = availableParallelism()] = process.argv.slice(2).map(Number);
if (!(checks > 0)) {
  console.error('usage: node test/hunt/main.ts CHECKS [SEED] [PROCESSES]');
  process.exit(2);
}
process.exitCode = processes > 1 ? await inParts() : await alone();

async function inParts(): Promise<number> {
  const startedAt = performance.now();
  console.log(`hunt: ${checks} checks in ${processes} processes, seed ${seed}`);
  const each = Math.ceil(checks / processes);
  const codes = await Promise.all(
    Array.from({ length: processes }, async (_, part) => {
      const args = [String(each), String(seed + part * 1_000_000), '1'];
      const child = fork(new URL(import.meta.url), args, { execArgv: ['--disable-warning=ExperimentalWarning'] });
      const [code] = (await once(child, 'exit')) as [number | null];
      return code ?? 1;
    }),
  );
  const isGood = codes.every((code) => code === 0);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(isGood ? `hunt: no allow that a policy does not give, in ${seconds} s` : 'hunt: FAILED');
  return isGood ? 0 : 1;
}

async function alone(): Promise<number> {
  const options = { seed, checks };
  const result = await runHunt(options, ({ checks: done, allows }) => {
    console.log(`hunt ${seed}: ${done} checks, ${allows} allowed, ${process.memoryUsage.rss() >> 20} MB`);
  });
  const counts = (map: ReadonlyMap<string, number>): string =>
    [...map].map(([name, count]) => `${name} ${count}`).join(', ');
  console.log(`hunt ${seed}: denied: ${counts(result.denies)}\nhunt ${seed}: meanwhile: ${counts(result.events)}`);
  if (result.failures.length > 0) console.log(await report(result.failures, options));
  return result.failures.length > 0 ? 1 : 0;
}
