import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../../src/core/index.ts';
import { policyDifference, type ComparedPolicy } from '../../../../src/evidence/difference/policy-difference.ts';
import { createRandom } from '../../../../src/evidence/difference/random.ts';
import { evaluateGrants, openPolicy, PolicyRefusedError, snapshotSource } from '../../../../src/policy/index.ts';
import { createRegoCompiler } from '../../../../src/policy/rego-compiler.ts';
import { createRegoProgram } from '../../../../src/policy/rego-program.ts';
import { plant } from './mutations.ts';
import { POLICIES, type PlantedPolicy } from './policies.ts';

/** All of them are planted by `npm run prove`. */
const COUNT = Number(process.env['SVIDGATE_DIFFERENCES'] ?? 12);
const SHARE = 0.95;
const { signal } = new AbortController();
const program = createRegoProgram({ clock: systemClock, timeLimitMs: 120_000 });
const compiler = createRegoCompiler({ clock: systemClock, program });
const NOON = 1_794_657_600_000_000_000n;

interface Opened extends ComparedPolicy, AsyncDisposable {}

async function open({ entrypoint, rego, data }: PlantedPolicy): Promise<Opened> {
  const files = { modules: { 'authz.rego': rego }, data: { 'data.json': JSON.stringify(data) } };
  const snapshot = { files, tests: {}, digest: rego };
  const policy = await openPolicy({ path: snapshotSource('test', snapshot), entrypoint, compiler, signal });
  const grants = await evaluateGrants({ snapshot, entrypoint, program, signal });
  return { policy, grants, [Symbol.asyncDispose]: () => policy[Symbol.asyncDispose]() };
}

test(`of ${COUNT} planted differences at least 95 % are found`, async (t) => {
  const random = createRandom(7);
  const opened = new Map<PlantedPolicy, Opened>();
  await using stack = new AsyncDisposableStack();
  const missed: string[] = [];
  const planted = new Set<string>();
  for (let tries = 0; planted.size < COUNT && tries < 20 * COUNT; tries += 1) {
    const original = POLICIES[tries % POLICIES.length]!;
    const mutation = plant(original, random);
    if (mutation === undefined) continue;
    const name = `${original.entrypoint}: ${mutation.what}`;
    if (planted.has(name)) continue;
    let changed: Opened;
    try {
      changed = await open(mutation.policy);
    } catch (error) {
      if (error instanceof PolicyRefusedError) continue;
      throw error;
    }
    await using after = changed;
    planted.add(name);
    const before = opened.get(original) ?? stack.use(await open(original));
    opened.set(original, before);
    const { different } = await policyDifference(before, after, { nowNs: NOON, signal, enough: 1 });
    if (different === 0) missed.push(name);
  }
  assert.equal(planted.size, COUNT);
  t.diagnostic(`${missed.length} of ${COUNT} not found`);
  const found = (COUNT - missed.length) / COUNT;
  assert.ok(found >= SHARE, `found ${found}; missed:\n${missed.join('\n')}`);
});
