import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openPolicy, PolicyRefusedError, snapshotSource } from '../../../src/policy/open-policy.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { compiler, json, never } from './support.ts';

const ONLY_ANN = 'package a\n\ndefault allow := false\n\nallow if input.user == "ann"\n';

test('a folder is opened, decides as the engine does, and says what it looks at', async () => {
  await using temp = await tempFolder();
  const folder = join(temp.path, 'policy');
  await mkdir(folder);
  await writeFile(join(folder, 'a.rego'), ONLY_ANN);
  await using policy = await openPolicy({ path: folder, entrypoint: 'a/allow', signal: never });
  assert.equal((await policy.decide(json({ user: 'ann' }))).effect, 'allow');
  const denied = await policy.decide(json({ user: 'bob' }));
  assert.deepEqual(denied, { effect: 'deny', reason: 'policy_denied', policy: '', digest: policy.digest });
  assert.deepEqual([...(policy.needs as ReadonlyMap<string, unknown>)], [['user', 'all']]);
  assert.equal(policy.snapshot.files.modules['a.rego'], ONLY_ANN);
});

test('a snapshot that does not compile is refused with every mistake', async () => {
  const files = { modules: { 'a.rego': 'package a\nallow if nothing(1)\nx if other(2)\n' }, data: {} };
  const path = snapshotSource('policy v7', { files, tests: {}, digest: '7' });
  await assert.rejects(openPolicy({ path, entrypoint: 'a/allow', compiler, signal: never }), (error) => {
    assert.ok(error instanceof PolicyRefusedError);
    assert.equal(error.code, 'policy_invalid');
    assert.match(
      error.message,
      /^policy v7 does not compile: a\.rego:2:10: rego_type_error: undefined function nothing/,
    );
    assert.deepEqual(
      error.problems.map(({ line }) => line),
      [2, 3],
    );
    return true;
  });
});

test('a policy that asks the network is opened, and nobody is asked', async () => {
  const rego = 'package a\n\nallow if http.send({"method": "GET", "url": "http://127.0.0.1:9/"}).status_code == 200\n';
  const path = snapshotSource('it', { files: { modules: { 'a.rego': rego }, data: {} }, tests: {}, digest: '7' });
  await using policy = await openPolicy({ path, entrypoint: 'a/allow', signal: never });
  const decision = await policy.decide(json({}));
  assert.equal(decision.effect, 'deny');
  assert.notEqual(decision.effect === 'deny' && decision.reason, 'policy_denied');
});
