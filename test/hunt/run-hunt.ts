import { join } from 'node:path';
import { tempFolder } from '../support/temp-folder.ts';
import { watchThreads, type Threads } from './events.ts';
import { hunt, type Failure, type HuntOptions, type HuntResult } from './hunt.ts';
import { shrink } from './shrink.ts';
import { overSockets } from './over-sockets.ts';
import { createWorld, type World } from './world.ts';

/** Checks in one world; then comes another one, since each may only be shut down once. */
const CHECKS_A_WORLD = 50_000;

/** The hunt through as many worlds as it takes, each with the seed after that of the one before. */
export async function runHunt(options: HuntOptions, onWorld: (result: HuntResult) => void = () => undefined) {
  await using folder = await tempFolder();
  let all: HuntResult = { checks: 0, allows: 0, denies: new Map(), events: new Map(), failures: [] };
  for (let number = 0; all.checks < options.checks && all.failures.length === 0; number += 1) {
    const checks = Math.min(CHECKS_A_WORLD, options.checks - all.checks);
    const result = await huntOnce(join(folder.path, `world-${number}`), {
      ...options,
      seed: options.seed + number,
      checks,
    });
    all = sum(all, result);
    onWorld(all);
  }
  return all;
}

async function huntOnce(folder: string, options: HuntOptions): Promise<HuntResult> {
  using threads = watchThreads();
  await using world = await createWorld(folder);
  const overThem = await huntOverSockets(world, threads, {
    ...options,
    checks: Math.ceil(options.checks / SOCKETS_SHARE),
  });
  if (overThem.failures.length > 0) return overThem;
  return sum(overThem, await hunt(world, threads, { ...options, seed: options.seed + 1 }));
}

/** The part of the checks that goes through real sockets, too: they cost ten times as much. */
const SOCKETS_SHARE = 50;

export async function huntOverSockets(world: World, threads: Threads, options: HuntOptions): Promise<HuntResult> {
  await using folder = await tempFolder();
  await using served = await overSockets(world, folder.path);
  return await hunt(served, threads, { ...options, shutsDown: false, isOneCaller: true });
}

function sum(one: HuntResult, other: HuntResult): HuntResult {
  return {
    checks: one.checks + other.checks,
    allows: one.allows + other.allows,
    denies: sumCounts(one.denies, other.denies),
    events: sumCounts(one.events, other.events),
    failures: [...one.failures, ...other.failures],
  };
}

function sumCounts(one: ReadonlyMap<string, number>, other: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const total = new Map(one);
  for (const [key, count] of other) total.set(key, (total.get(key) ?? 0) + count);
  return total;
}

/** What is to be read of failures: each in its least form where there is one, and how to see it again. */
export async function report(failures: readonly Failure[], options: HuntOptions): Promise<string> {
  await using folder = await tempFolder();
  await using world = await createWorld(folder.path);
  const lines: string[] = [`seed ${options.seed}`];
  for (const failure of failures.slice(0, 5)) {
    const least = await shrink(failure, world);
    const { what, why, drawn } = least ?? failure;
    lines.push(`${what}: ${why}${least === undefined ? ' (only with what happened meanwhile)' : ''}`);
    const words = [drawn, ...(failure.at === undefined ? [] : [failure.at])].map(
      (word) => `'${JSON.stringify(word).replaceAll("'", String.raw`\u0027`)}'`,
    );
    lines.push(`  node test/hunt/replay.ts ${words.join(' ')}`);
  }
  return lines.join('\n');
}
