/** The same requests and policies through OPA, with the contract of its Envoy plugin, and through svidgate. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { structToJson } from '../../src/proto/index.ts';
import { root } from '../../tools/setup/paths.mjs';
import { createRandom } from '../hunt/random.ts';
import { BUILD_LIMIT_MS, conformanceFolder } from '../support/conformance-client.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { startOpaReference, type OpaPolicy, type OpaReference } from '../support/opa-reference.ts';
import { startTestServer } from '../support/server.ts';
import { tempFolder, type TempFolder } from '../support/temp-folder.ts';
import { DIFFERENCES, namesOf, type Pair } from './opa-differential/differences.ts';
import { effectOf, type Effect } from './opa-differential/effect.ts';
import { checkRequest } from './opa-differential/requests.ts';
import { keySet } from './opa-differential/tokens.ts';

const SEED = 20_261_122;
const REQUESTS_EACH = 90;
/** More of those that show most. */
const WEIGHTS: Readonly<Record<string, number>> = { answers: 4, document: 2, every_field: 2 };
/** Policies of one server: each has a thread of its own. */
const GROUP = 7;
const AT_ONCE = 8;

const SOURCES = join(conformanceFolder('opa-differential'), 'policies');
const NAMES = (await readdir(SOURCES)).map((name) => name.replace('.rego', '')).sort();

let folder: TempFolder;
let policies: Readonly<Record<string, OpaPolicy>>;
let opa: OpaReference;

before(
  async () => {
    folder = await tempFolder();
    policies = Object.fromEntries(
      await Promise.all(NAMES.map(async (name) => [name, await writePolicy(name)] as const)),
    );
    opa = await startOpaReference({ listen: `unix:${join(folder.path, 'opa.sock')}`, policies });
  },
  { timeout: BUILD_LIMIT_MS },
);

after(async () => {
  await opa?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

/** A folder of its own with the Rego, and the key set as data. The decision is the rule `decision`, or the whole package. */
async function writePolicy(name: string): Promise<OpaPolicy> {
  const path = join(folder.path, 'policies', name);
  await mkdir(path, { recursive: true });
  const source = join(SOURCES, `${name}.rego`);
  await copyFile(source, join(path, 'policy.rego'));
  if (name === 'jwt_keys') await writeFile(join(path, 'data.json'), JSON.stringify({ jwt_keys: { jwks: keySet() } }));
  const text = await readFile(source, 'utf8');
  const packageName = /^package (\w+)$/m.exec(text)?.[1] ?? '';
  return { path, entrypoint: /^decision\b|^default decision\b/m.test(text) ? `${packageName}/decision` : packageName };
}

describe('decisions of OPA and of svidgate', { concurrency: 1 }, () => {
  const pairs: Pair[] = [];
  for (let at = 0; at < NAMES.length; at += GROUP) {
    const group = NAMES.slice(at, at + GROUP);
    test(`are the same, or differ as the documentation says: ${group.join(', ')}`, { timeout: 300_000 }, async () => {
      const found = await askBoth(group);
      pairs.push(...found);
      const unexplained = found.filter((pair) => namesOf(pair) === undefined);
      assert.equal(unexplained.length, 0, describePairs(unexplained));
    });
  }

  test('were seen of each kind, and never is more allowed here than there', () => {
    assert.ok(
      pairs.length >= Math.min(2000, NAMES.length * REQUESTS_EACH) && NAMES.length >= 20,
      `${pairs.length} requests`,
    );
    const open = pairs.filter(
      ({ opa: there, ours }) => ours.kind === 'allow' && there.kind !== 'allow' && !isUnwritable(there),
    );
    assert.equal(open.length, 0, describePairs(open));
    const count = (kind: Effect['kind']): number => pairs.filter(({ opa: there }) => there.kind === kind).length;
    for (const kind of ['allow', 'deny', 'error'] as const)
      assert.ok(count(kind) > pairs.length / 20, `${count(kind)} ${kind}`);
  });

  test('differ in each way that is listed, and each is in the documentation', async () => {
    const text = await readFile(join(root, 'docs/compatibility.md'), 'utf8');
    const occurring = new Set(pairs.flatMap((pair) => namesOf(pair) ?? []));
    for (const { name, row } of DIFFERENCES) {
      assert.ok(text.includes(`\n| ${row}`), `docs/compatibility.md has no row for ${name}`);
      assert.ok(occurring.has(name), `${name} does not occur`);
    }
  });
});

/** The policy has allowed it, and gRPC did not take the reply. */
function isUnwritable(there: Effect): boolean {
  return there.kind === 'error' && there.message.includes('invalid UTF-8 in string');
}

async function askBoth(names: readonly string[]): Promise<readonly Pair[]> {
  await using server = await startTestServer({ config: configOf(names) });
  using ours = connect(server.gate);
  using theirs = connect(opa.address);
  const questions = names.flatMap((policy) =>
    Array.from({ length: REQUESTS_EACH * (WEIGHTS[policy] ?? 1) }, (_, index) => ({ policy, index })),
  );
  const pairs: Pair[] = [];
  const work = async (): Promise<void> => {
    for (let next = questions.pop(); next !== undefined; next = questions.pop()) {
      pairs.push(await ask(next, { ours, theirs }));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return pairs;
}

function configOf(names: readonly string[]): string {
  const lines = names.map((name) => {
    const { path, entrypoint } = policies[name]!;
    return `    ${name}: { path: ${path}, entrypoint: ${entrypoint} }`;
  });
  return ['authz:', '  listen: unix:./authz.sock', '  eval_timeout: 20s', '  policies:', ...lines].join('\n');
}

async function ask(
  { policy, index }: { readonly policy: string; readonly index: number },
  clients: { readonly ours: RawClient; readonly theirs: RawClient },
): Promise<Pair> {
  const request = checkRequest(createRandom(SEED, NAMES.indexOf(policy) * 100_000 + index), policy);
  const [mine, opaEffect] = await Promise.all([
    clients.ours.check(request),
    clients.theirs.check(request).then(
      (reply) => effectOf(reply, request),
      (error: unknown): Effect => ({ kind: 'error', message: (error as Error).message }),
    ),
  ]);
  const { reason } = structToJson(mine.dynamicMetadata ?? { fields: {} });
  const ours = withoutOurMetadata(effectOf(mine, request), opaEffect);
  return { policy, request, opa: opaEffect, ours, reason: typeof reason === 'string' ? reason : '' };
}

/** What svidgate adds for the access log: a row of the table. */
function withoutOurMetadata(ours: Effect, there: Effect): Effect {
  if (ours.kind === 'error' || there.kind === 'error') return ours;
  const isTheirs = (key: string): boolean => !['policy', 'reason'].includes(key) || Object.hasOwn(there.metadata, key);
  return { ...ours, metadata: Object.fromEntries(Object.entries(ours.metadata).filter(([key]) => isTheirs(key))) };
}

const MAX_SHOWN = 8;

function describePairs(pairs: readonly Pair[]): string {
  const shown = pairs.slice(0, MAX_SHOWN).map(({ policy, request, opa: there, ours, reason }) => {
    const [left, right] = differingFields(there, ours);
    return [policy, `request ${JSON.stringify(request)}`, `OPA     ${left}`, `ours    ${reason} ${right}`].join('\n');
  });
  return `seed ${SEED}, ${pairs.length} differ\n${shown.join('\n\n')}`;
}

function differingFields(there: Effect, ours: Effect): readonly [string, string] {
  if (there.kind !== ours.kind) return [JSON.stringify(there), JSON.stringify(ours)];
  const [left, right] = [there, ours] as unknown as readonly Readonly<Record<string, unknown>>[];
  const keys = Object.keys(left!).filter((key) => !isDeepStrictEqual(left![key], right![key]));
  const only = (effect: Readonly<Record<string, unknown>>): string =>
    JSON.stringify(Object.fromEntries(keys.map((key) => [key, effect[key]])));
  return [only(left!), only(right!)];
}
