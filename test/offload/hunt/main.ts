/**
 * `node test/offload/hunt/main.ts REQUESTS [SEED] [PROCESSES] [POLICY…]`: so many requests to each policy. Exit code 0 only if no
 * rule is unsound.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { randomInt } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { tempFolder } from '../../support/temp-folder.ts';
import { hunt, NOTHING, sum, type HuntFigures } from './hunt.ts';
import { allPolicies, createWorkshop, joinedPolicies, report } from './run-hunt.ts';
import { createStage } from './stage.ts';

const [requests = 0, seed = randomInt(2 ** 31), processes = availableParallelism()] = process.argv
  .slice(2, 5)
  .map(Number);
const names = process.argv.slice(5);
const ASK_EVERY = 8;
if (!(requests > 0)) {
  console.error('usage: node test/offload/hunt/main.ts REQUESTS [SEED] [PROCESSES] [POLICY…]');
  process.exit(2);
}
const single = await allPolicies();
const all =
  names.length === 0
    ? single
    : [
        ...single,
        ...(await joinedPolicies()).filter((joined) => !single.some(({ name }) => name === joined.name)),
      ].filter(({ name }) => names.includes(name));
process.exitCode = processes > 1 ? await inParts() : await alone();

async function inParts(): Promise<number> {
  const startedAt = performance.now();
  console.log(`offload hunt: ${all.length} policies, ${requests} requests each, ${processes} processes, seed ${seed}`);
  const codes = await Promise.all(
    Array.from({ length: processes }, async (_, part) => {
      const own = all.filter((_policy, index) => index % processes === part).map(({ name }) => name);
      const args = [String(requests), String(seed), '1', ...own];
      const child = fork(new URL(import.meta.url), args, { execArgv: ['--disable-warning=ExperimentalWarning'] });
      const [code] = (await once(child, 'exit')) as [number | null];
      return code ?? 1;
    }),
  );
  const isGood = codes.every((code) => code === 0);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(isGood ? `offload hunt: no rule is unsound, in ${seconds} s` : 'offload hunt: FAILED');
  return isGood ? 0 : 1;
}

async function alone(): Promise<number> {
  await using folder = await tempFolder();
  await using stage = await createStage(folder.path);
  const workshop = createWorkshop(stage.gate);
  let isGood = true;
  let total = NOTHING;
  for (const policy of all) {
    await using prepared = await workshop.prepare(policy);
    const startedAt = performance.now();
    const figures = await hunt(prepared, stage, { seed, requests, askEvery: ASK_EVERY });
    total = sum(total, { ...figures, failures: [] });
    const { ways, rules } = prepared.translated;
    const speed = Math.round((figures.checks / (performance.now() - startedAt)) * 1000);
    console.log(
      `${policy.name}: ${shown(figures)}; ${ways.offloaded} of ${ways.all} ways, ${rules.length} rules; ${speed}/s`,
    );
    if (figures.failures.length === 0) continue;
    isGood = false;
    console.log(await report(figures.failures, { prepared, stage }));
  }
  console.log(`in all ${total.checks} requests: ${shown(total)}`);
  return isGood ? 0 : 1;
}

function shown({ sampled, allowed, offloaded, refused, failures }: HuntFigures): string {
  const share = (count: number, of = sampled): string => `${of === 0 ? 0 : Math.round((count / of) * 100)} %`;
  const faults = failures.length === 0 ? '' : `${failures.length} FAILURES, `;
  return `${faults}allowed ${share(allowed)}, of these offloaded ${share(offloaded, allowed)}, refused ${share(refused)}`;
}
