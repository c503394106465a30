import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createAttestor,
  createUnixAttestor,
  type PeerTracker,
  type WorkloadAttestor,
} from '../../../src/attestation/index.ts';
import {
  noMetrics,
  silentLogger,
  SvidgateError,
  systemClock,
  type AuditEvent,
  type LogFields,
  type Logger,
} from '../../../src/core/index.ts';
import { createTestClock } from '../../support/test-clock.ts';
import { ownPeer } from '../../support/own-peer.ts';

const settings = {
  attestors: [createUnixAttestor({ discoverWorkloadPath: true, executableDigest: { kind: 'off' } })],
  allowWithoutPid: false,
  logger: silentLogger,
  metrics: noMetrics,
  audit: { record: () => undefined },
  clock: systemClock,
} as const;

const answering = (name: string, ...values: readonly string[]): WorkloadAttestor => ({
  name,
  timeoutMs: 1000,
  attest: () => Promise.resolve(values),
});
const failing = (name: string, message = 'broken'): WorkloadAttestor => ({
  name,
  timeoutMs: 1000,
  attest: () => Promise.reject(new Error(message)),
});
const silent = (name: string): WorkloadAttestor => ({
  name,
  timeoutMs: 1000,
  attest: () => new Promise(() => undefined),
});

interface Line extends LogFields {
  readonly message: string;
}

function recorder(): { readonly logger: Logger; readonly lines: Line[] } {
  const lines: Line[] = [];
  const add = (fields: LogFields, message: string): number => lines.push({ ...fields, message });
  const logger: Logger = { debug: add, info: add, warn: add, error: add, child: () => logger };
  return { logger, lines };
}

test('an attestation that failed is tried again on the same connection; one that passed is kept', async () => {
  await using own = await ownPeer();
  let asked = 0;
  const tracker: PeerTracker = {
    ...own.tracker,
    trackedProcess(peer) {
      asked += 1;
      if (asked === 1) throw new SvidgateError('attestation_failed', 'no file descriptor was left');
      return own.tracker.trackedProcess(peer);
    },
  };
  const attestor = createAttestor({ ...settings, tracker });
  await assert.rejects(attestor.attest(own.peer), { code: 'attestation_failed' });
  const attestation = await attestor.attest(own.peer);
  assert.ok([...attestation.selectors].some((selector) => selector === `unix:path:${process.execPath}`));
  assert.equal(await attestor.attest(own.peer), attestation);
  assert.equal(asked, 2);
});

test('a caller whose connection has ended is alive no more, and what waits for its end is told', async () => {
  await using own = await ownPeer();
  const attestation = await createAttestor({ ...settings, tracker: own.tracker }).attest(own.peer);
  attestation.assertAlive();
  own.peer.close();
  assert.throws(() => attestation.assertAlive(), { code: 'attestation_failed' });
  assert.ok(own.peer.exited.aborted);
});

test('the selectors of all attestors come together; one that fails is dropped, logged and named', async () => {
  await using own = await ownPeer();
  const { logger, lines } = recorder();
  const attestors = [
    answering('unix', 'uid:1'),
    failing('docker', 'no engine'),
    answering('systemd'),
    answering('k8s', 'ns:a'),
  ];
  const attestation = await createAttestor({ ...settings, tracker: own.tracker, attestors, logger }).attest(own.peer);
  assert.deepEqual([...attestation.selectors], ['unix:uid:1', 'k8s:ns:a']);
  assert.deepEqual(attestation.failedAttestors, ['docker']);
  const failure = lines.find(({ message }) => message === 'attestor failed');
  assert.deepEqual([failure?.attestor, failure?.reason], ['docker', 'no engine']);
});

test('a caller that no attestor can attest is refused, and that is recorded', async () => {
  await using own = await ownPeer();
  const events: AuditEvent[] = [];
  const attestors = [failing('unix'), failing('k8s')];
  const audit = { record: (event: AuditEvent) => void events.push(event) };
  const attestor = createAttestor({ ...settings, tracker: own.tracker, attestors, audit });
  await assert.rejects(attestor.attest(own.peer), {
    code: 'attestation_failed',
    message: 'no attestor could attest the caller',
  });
  const [event] = events;
  assert.equal(event?.event === 'workload_attestation' && event.attestation_method, 'unix,k8s');
  assert.equal(event?.result, 'failure');
  assert.equal(event?.failure_reason, 'attestation_failed: no attestor could attest the caller');
  assert.equal(event?.caller?.pid, process.pid);
});

test('an attestor that never answers is dropped at its time-out, and the others are not', async () => {
  await using own = await ownPeer();
  const clock = createTestClock();
  const attestors = [answering('unix', 'uid:1'), silent('docker')];
  const attesting = createAttestor({ ...settings, tracker: own.tracker, attestors, clock }).attest(own.peer);
  await clock.advance(1000);
  const attestation = await attesting;
  assert.deepEqual([...attestation.selectors], ['unix:uid:1']);
  assert.deepEqual(attestation.failedAttestors, ['docker']);
});

test('a caller that ends while attestors are asked is refused at once', async () => {
  await using own = await ownPeer();
  const attestors = [answering('unix', 'uid:1'), silent('docker')];
  const attesting = createAttestor({ ...settings, tracker: own.tracker, attestors }).attest(own.peer);
  own.peer.close();
  await assert.rejects(attesting, { code: 'attestation_failed', message: 'the process that connected has ended' });
});

test('a missing attestor is asked again in the background, and what it says counts from then on', async () => {
  await using own = await ownPeer();
  const clock = createTestClock();
  let isUp = false;
  let asked = 0;
  const docker: WorkloadAttestor = {
    name: 'docker',
    timeoutMs: 1000,
    attest: () => {
      asked += 1;
      return isUp ? Promise.resolve(['label:a:b']) : Promise.reject(new Error('down'));
    },
  };
  const attestor = createAttestor({
    ...settings,
    tracker: own.tracker,
    attestors: [answering('unix', 'uid:1'), docker],
    clock,
  });
  const first = await attestor.attest(own.peer);
  assert.equal(await attestor.attest(own.peer), first);
  assert.equal(asked, 1);
  isUp = true;
  await clock.advance(5000);
  assert.equal(await attestor.attest(own.peer), first); // nobody waits for the second try
  await clock.advance(0);
  assert.deepEqual([...(await attestor.attest(own.peer)).selectors], ['unix:uid:1', 'docker:label:a:b']);
  await clock.advance(60_000);
  await attestor.attest(own.peer);
  assert.equal(asked, 2);
});

test('values of environment variables are in the selectors, and in neither log nor audit', async () => {
  await using own = await ownPeer();
  const { logger, lines } = recorder();
  const events: AuditEvent[] = [];
  const attestation = await createAttestor({
    ...settings,
    tracker: own.tracker,
    attestors: [answering('docker', 'env:PASSWORD=hunter2=x', 'label:a:b')],
    logger,
    audit: { record: (event) => void events.push(event) },
  }).attest(own.peer);
  assert.ok([...attestation.selectors].some((selector) => selector === 'docker:env:PASSWORD=hunter2=x'));
  assert.deepEqual(attestation.caller.selectors, ['docker:env:PASSWORD=***', 'docker:label:a:b']);
  assert.ok(!JSON.stringify([lines, events]).includes('hunter2'));
  assert.equal(events[0]?.caller?.executable, process.execPath);
});

test('what may not go unrecorded is refused when it cannot be recorded', async () => {
  await using own = await ownPeer();
  const audit = {
    record: () => {
      throw new SvidgateError('audit_failed', 'the disk is full');
    },
  };
  const attestor = createAttestor({ ...settings, tracker: own.tracker, audit });
  await assert.rejects(attestor.attest(own.peer), { code: 'audit_failed' });
});

test('what an attestor says is bounded, cannot pose as another type, and holds nothing that is unfit to be shown', async () => {
  await using own = await ownPeer();
  const { logger, lines } = recorder();
  const unfit = [
    '',
    'label:a:x\ny',
    'label:a:\u001b[2J',
    'label:a:\u202e',
    `label:a:${'x'.repeat(4096)}`,
    'label:\ud800',
  ];
  const many = Array.from({ length: 3000 }, (_, index) => `env:N=${index}`);
  const attestation = await createAttestor({
    ...settings,
    tracker: own.tracker,
    attestors: [answering('docker', 'unix:uid:0', ...unfit, ...many)],
    logger,
  }).attest(own.peer);
  assert.equal(attestation.selectors.size, 2048);
  assert.equal([...attestation.selectors][0], 'docker:unix:uid:0');
  assert.equal(lines.find(({ message }) => message === 'selectors left out')?.count, unfit.length + 3000 - 2047);
});

test('a caller of another pid namespace is refused unless that is allowed', async () => {
  await using own = await ownPeer();
  const real = own.tracker.trackedProcess(own.peer);
  const tracker: PeerTracker = {
    ...own.tracker,
    trackedProcess: () => ({
      pid: 0,
      uid: 7,
      gid: 8,
      image: undefined,
      exited: real.exited,
      assertAlive: () => undefined,
      assertAliveInTurn: () => undefined,
      close: () => undefined,
    }),
  };
  await assert.rejects(createAttestor({ ...settings, tracker }).attest(own.peer), {
    message: 'the caller is outside of the pid namespace of svidgate',
  });
  const attestation = await createAttestor({ ...settings, tracker, allowWithoutPid: true }).attest(own.peer);
  const selectors = [...attestation.selectors].filter((selector) => /^unix:[ug]id:/.test(selector));
  assert.deepEqual(selectors, ['unix:uid:7', 'unix:gid:8']);
});
