/** Lists of peers out of the data of live policies: compiled, edited, refused, and kept over a restart. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { createCompiledPolicies } from '../../src/datastore/index.ts';
import { createPolicyEngine, type PolicyEngine } from '../../src/policy/index.ts';
import { createPeerLists, type PeerList } from '../../src/secrets/index.ts';
import { parseSpiffeIdPattern } from '../../src/spiffe/index.ts';
import { tempFolder, type TempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

const WEB = 'spiffe://example.test/web';
const BATCH = 'spiffe://example.test/batch/**';
const LIMIT_MS = 30_000;

let folder: TempFolder;
let policyFolder: string;

beforeEach(async () => {
  folder = await tempFolder();
  policyFolder = join(folder.path, 'policy');
  await mkdir(join(policyFolder, 'peers/orders'), { recursive: true });
  await writeFile(join(policyFolder, 'test.rego'), 'package test\nallow if input.x == 1\n');
});
afterEach(() => folder[Symbol.asyncDispose]());

interface OpenEngine extends AsyncDisposable {
  readonly engine: PolicyEngine;
  /** The list as it is now. */
  list(name: string): PeerList | undefined;
  changes(): number;
}

/** Asks for the data before or after the policy is loaded. */
async function openEngine(when: 'early' | 'late'): Promise<OpenEngine> {
  const directory = { path: join(folder.path, 'data'), close: () => Promise.resolve() };
  const engine = createPolicyEngine({
    policies: [{ name: 'default', path: policyFolder, entrypoint: 'test/allow' }],
    evalTimeoutMs: 2000,
    cache: createCompiledPolicies(directory, { policies: ['default'] }),
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const make = (): ReturnType<typeof createPeerLists> =>
    createPeerLists({
      lists: new Map([
        ['json', { kind: 'policy', policy: 'default', path: 'peers/orders/callers' }],
        ['yaml', { kind: 'policy', policy: 'default', path: 'callers' }],
        ['other', { kind: 'policy', policy: 'none', path: 'callers' }],
      ]),
      policyData: (name) => engine.data(name),
      logger: silentLogger,
    });
  const stop = new AbortController();
  const early = when === 'early' ? make() : undefined;
  assert.ok(early === undefined || early.value.get('json')?.kind === 'pending');
  await engine.start(stop.signal);
  const lists = early ?? make();
  let changes = 0;
  lists.subscribe(() => (changes += 1));
  const running = engine.run(stop.signal);
  return {
    engine,
    list: (name) => lists.value.get(name),
    changes: () => changes,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

function known(...ids: readonly string[]): PeerList {
  return { kind: 'known', peers: ids.map(parseSpiffeIdPattern) };
}

test('lists follow the data in force, in JSON and YAML, and are there after a restart', async () => {
  const json = join(policyFolder, 'peers/orders/data.json');
  await writeFile(json, JSON.stringify({ callers: [WEB] }));
  await writeFile(join(policyFolder, 'data.yaml'), `callers: ["${BATCH}"]\n`);
  {
    await using open = await openEngine('early');
    assert.deepEqual(open.list('json'), known(WEB));
    assert.deepEqual(open.list('yaml'), known(BATCH));
    assert.deepEqual(open.list('other'), { kind: 'pending' });
    const yaml = open.list('yaml');
    await writeFile(json, JSON.stringify({ callers: [WEB, BATCH] }));
    await waitUntil('the new list', LIMIT_MS, () => open.changes() === 1);
    assert.deepEqual(open.list('json'), known(WEB, BATCH));
    assert.equal(open.list('yaml'), yaml);
    const before = open.engine.status.value.get('default')?.digest;
    await writeFile(join(policyFolder, 'test.rego'), 'package test\nallow if input.x == 2\n');
    await waitUntil('the new rule', LIMIT_MS, () => {
      const { digest, state } = open.engine.status.value.get('default') ?? {};
      return state === 'active' && digest !== before;
    });
    assert.equal(open.changes(), 1, 'the same data was told again');
    await writeFile(json, '{"callers": [');
    await waitUntil('the mistake', LIMIT_MS, () => open.engine.status.value.get('default')?.lastError !== undefined);
    assert.deepEqual(open.list('json'), known(WEB, BATCH), 'what is in force stays');
    await writeFile(json, JSON.stringify({ callers: [WEB, BATCH] }));
    await waitUntil('the end of it', LIMIT_MS, () => open.engine.status.value.get('default')?.lastError === undefined);
  }
  await using again = await openEngine('late');
  assert.deepEqual(again.list('json'), known(WEB, BATCH));
  assert.deepEqual(again.list('yaml'), known(BATCH));
});

test('lists of a policy that cannot be loaded are pending until it can', async () => {
  await writeFile(join(policyFolder, 'data.yaml'), `callers: ["${BATCH}"]\n`);
  await writeFile(join(policyFolder, 'test.rego'), 'package test\nallow if\n');
  await using open = await openEngine('early');
  assert.deepEqual(open.list('yaml'), { kind: 'pending' });
  await writeFile(join(policyFolder, 'test.rego'), 'package test\nallow if input.x == 1\n');
  await waitUntil('the list', LIMIT_MS, () => open.list('yaml')?.kind === 'known');
  assert.deepEqual(open.list('yaml'), known(BATCH));
  assert.deepEqual(open.list('json'), known(), 'there is no such list');
});
