import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import {
  createPeerTracker,
  createUnixAttestor,
  explainAttestation,
  openKernel,
  type Explanation,
  type WorkloadAttestor,
} from '../../../src/attestation/index.ts';
import { systemClock } from '../../../src/core/index.ts';
import { parseSelector, type RegistrationEntry, type SpiffeId } from '../../../src/spiffe/index.ts';

const answering = (name: string, ...values: readonly string[]): WorkloadAttestor => ({
  name,
  timeoutMs: 1000,
  attest: () => Promise.resolve(values),
});

function entry(entryId: string, ...selectors: readonly string[]): RegistrationEntry {
  return { entryId, spiffeId: `spiffe://example.test/${entryId}` as SpiffeId, selectors: selectors.map(parseSelector) };
}

async function explain(
  entries: readonly RegistrationEntry[],
  attestors: readonly WorkloadAttestor[],
  pid = process.pid,
): Promise<Explanation> {
  const tracker = createPeerTracker(openKernel());
  try {
    return await explainAttestation({ pid, tracker, attestors, entries, clock: systemClock });
  } finally {
    tracker.close();
  }
}

test('the selectors of a process are told by attestor, without values of its environment, and failures with their reason', async () => {
  const failing: WorkloadAttestor = { ...answering('systemd'), attest: () => Promise.reject(new Error('no bus')) };
  const attestors = [
    createUnixAttestor({ discoverWorkloadPath: true, executableDigest: { kind: 'off' } }),
    answering('docker', 'env:A=secret', 'label:a:\n'),
    failing,
  ];
  const { pid, uid, gid, executable, attestors: told } = await explain([], attestors);
  assert.deepEqual(
    [pid, uid, gid, executable],
    [process.pid, process.geteuid?.(), process.getegid?.(), process.execPath],
  );
  assert.ok(told[0]?.selectors.includes(`unix:path:${process.execPath}`));
  assert.deepEqual(told.slice(1), [
    { name: 'docker', selectors: ['docker:env:A=***'], leftOut: 1 },
    { name: 'systemd', selectors: [], leftOut: 0, failure: 'no bus' },
  ]);
});

test('entries that match come first, then those that lack fewest selectors, each with what it lacks', async () => {
  const entries = [
    entry('lacks-one', 'k8s:ns:a', 'k8s:sa:x'),
    entry('lacks-one-of-three', 'k8s:ns:a', 'unix:uid:1', 'k8s:sa:x'),
    entry('lacks-two', 'k8s:ns:a', 'k8s:sa:x', 'k8s:sa:y'),
    entry('matches', 'k8s:ns:a', 'unix:uid:1'),
    entry('shares-nothing', 'unix:uid:2'),
    { ...entry('expired', 'k8s:ns:a'), expiresAt: 1 },
    { ...entry('stored', 'unix:uid:1'), storeSvid: true },
    { ...entry('lives', 'unix:uid:1'), expiresAt: Date.now() + 60_000 },
    entry('has-none'),
  ];
  const { matches, matchCount, nearMisses } = await explain(entries, [
    answering('unix', 'uid:1'),
    answering('k8s', 'ns:a'),
  ]);
  assert.deepEqual(
    matches.map(({ entryId }) => entryId),
    ['matches', 'lives'],
  );
  assert.equal(matchCount, 2);
  assert.deepEqual(
    nearMisses.map(({ entry: { entryId }, missing, obstacle }) => [entryId, missing, obstacle]),
    [
      ['expired', [], 'expired'],
      ['stored', [], 'store_svid'],
      ['lacks-one-of-three', ['k8s:sa:x'], undefined],
      ['lacks-one', ['k8s:sa:x'], undefined],
      ['lacks-two', ['k8s:sa:x', 'k8s:sa:y'], undefined],
      ['shares-nothing', ['unix:uid:2'], undefined],
      ['has-none', [], undefined],
    ],
  );
});

test('at most ten near misses and a thousand matches are told of 100,000 entries, without holding up others', async (t) => {
  const entries = Array.from({ length: 100_000 }, (_, index) =>
    index % 50 === 0
      ? entry(`e${index}`, 'unix:uid:1')
      : entry(`e${index}`, 'unix:uid:1', `k8s:ns:${index}`, 'k8s:sa:x'),
  );
  const beats: number[] = [performance.now()];
  const beat = setInterval(() => beats.push(performance.now()), 1);
  const started = performance.now();
  const { matches, matchCount, nearMisses } = await explain(entries, [answering('unix', 'uid:1')]);
  clearInterval(beat);
  const longest = Math.max(...beats.slice(1).map((at, index) => at - (beats[index] ?? at)));
  t.diagnostic(`${Math.round(performance.now() - started)} ms, longest pause ${Math.round(longest)} ms`);
  assert.deepEqual([matches.length, matchCount, nearMisses.length], [1000, 2000, 10]);
  assert.ok(performance.now() - started < 5000);
});

test('a process that is not there, or ends meanwhile, is told so', async () => {
  for (const pid of [0, -1, 1.5, 2 ** 31 - 1, 2 ** 40]) {
    await assert.rejects(explain([], [answering('unix')], pid), {
      code: 'not_found',
      message: `there is no process ${pid}`,
    });
  }
  const child = spawn('/bin/sleep', ['60']);
  const ended = once(child, 'close');
  await once(child, 'spawn');
  const killing: WorkloadAttestor = {
    ...answering('unix'),
    async attest() {
      child.kill('SIGKILL');
      await ended;
      return [];
    },
  };
  await assert.rejects(explain([], [killing], child.pid), { code: 'attestation_failed' });
  await ended;
});
