import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  createKubernetesAttestor,
  type KubernetesAttestorOptions,
  type WorkloadAttestor,
} from '../../../src/attestation/index.ts';
import { systemClock } from '../../../src/core/index.ts';
import { json, startHttpStandIn, type Answer, type HttpStandIn } from '../../support/http-stand-in.ts';
import { tempFolder, type TempFolder } from '../../support/temp-folder.ts';
import { createTestClock, type TestClock } from '../../support/test-clock.ts';
import { createWebCa } from '../../support/web-certificate.ts';
import { never, processOf } from '../../support/own-peer.ts';

const UID = '6b7f1c2e-0a1b-4c2d-8e3f-001122334455';
const ID = 'a1'.repeat(32);
const INIT_ID = 'b2'.repeat(32);
const CGROUP = `0::/kubepods/burstable/pod${UID}/${ID}`;
const IMAGE = 'docker.io/envoyproxy/envoy:v1.36.4';
const IMAGE_ID = `docker.io/envoyproxy/envoy@sha256:${'c3'.repeat(32)}`;

/** One item of what a kubelet 1.33 answers to GET /pods, less what nobody looks at. */
const POD = {
  metadata: {
    name: 'orders-7c6d8f9b5-x2x4z',
    generateName: 'orders-7c6d8f9b5-',
    namespace: 'shop',
    uid: UID,
    creationTimestamp: '2026-11-01T10:00:00Z',
    labels: { app: 'orders', 'pod-template-hash': '7c6d8f9b5', 'app.kubernetes.io/part-of': 'shop' },
    annotations: { 'kubernetes.io/config.source': 'api' },
    ownerReferences: [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'orders-7c6d8f9b5', uid: 'rs-uid', controller: true },
    ],
  },
  spec: { serviceAccountName: 'orders-sa', nodeName: 'node-1', hostNetwork: false },
  status: {
    phase: 'Running',
    initContainerStatuses: [
      { name: 'init', image: 'busybox:1', imageID: '', containerID: `containerd://${INIT_ID}`, ready: true },
    ],
    containerStatuses: [
      { name: 'envoy', image: IMAGE, imageID: IMAGE_ID, containerID: `containerd://${ID}`, ready: true },
      { name: 'waiting', image: 'app:2', imageID: '', ready: false },
    ],
  },
};
const list = (...items: readonly unknown[]): unknown => ({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items });

const POD_VALUES = [
  'ns:shop',
  'sa:orders-sa',
  'pod-name:orders-7c6d8f9b5-x2x4z',
  `pod-uid:${UID}`,
  'node-name:node-1',
  'pod-image-count:2',
  'pod-init-image-count:1',
  'pod-owner:ReplicaSet:orders-7c6d8f9b5',
  'pod-owner-uid:ReplicaSet:rs-uid',
  `pod-image:${IMAGE}`,
  `pod-image:${IMAGE_ID}`,
  'pod-image:app:2',
  'pod-init-image:busybox:1',
  'pod-label:app:orders',
  'pod-label:pod-template-hash:7c6d8f9b5',
  'pod-label:app.kubernetes.io/part-of:shop',
];
const VALUES = ['container-name:envoy', `container-image:${IMAGE}`, `container-image:${IMAGE_ID}`, ...POD_VALUES];

interface Kubelet extends AsyncDisposable {
  readonly server: HttpStandIn;
  readonly clock: TestClock;
  readonly folder: TempFolder;
  attestor(options?: Partial<KubernetesAttestorOptions>): WorkloadAttestor;
}

/** A kubelet behind its read-only port; waits are the test's to end. */
async function startKubelet(answer: Answer = json(list(POD))): Promise<Kubelet> {
  const folder = await tempFolder();
  const server = await startHttpStandIn({ answer });
  const clock = createTestClock();
  return {
    server,
    clock,
    folder,
    attestor: (options = {}) =>
      createKubernetesAttestor({
        kubeletAddress: '127.0.0.1',
        kubeletPort: 1,
        readOnlyPort: server.port,
        skipKubeletVerification: false,
        tokenFile: join(folder.path, 'token'),
        pollAttempts: 60,
        pollIntervalMs: 500,
        clock,
        cgroupsOf: () => Promise.resolve(CGROUP),
        ...options,
      }),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Moves the clock on whenever somebody sleeps, until the work is done. */
async function moveOn<T>(clock: TestClock, work: Promise<T>): Promise<T> {
  const state = { isDone: false };
  const done = work.finally(() => (state.isDone = true));
  done.catch(() => undefined);
  while (!state.isDone) {
    if (clock.sleeping > 0) await clock.advance(500);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return done;
}

test('every selector of pod and container is given', async () => {
  await using kubelet = await startKubelet();
  const values = await kubelet.attestor().attest(processOf(100), never);
  assert.deepEqual([...values].sort(), [...VALUES].sort());
  assert.deepEqual(
    kubelet.server.requests.map(({ path }) => path),
    ['/pods'],
  );
});

test('an init container has the selectors of its pod and its own', async () => {
  await using kubelet = await startKubelet();
  const cgroup = `0::/kubepods/burstable/pod${UID}/${INIT_ID}`;
  const values = await kubelet.attestor({ cgroupsOf: () => Promise.resolve(cgroup) }).attest(processOf(100), never);
  assert.deepEqual([...values].sort(), ['container-name:init', 'container-image:busybox:1', ...POD_VALUES].sort());
});

test('a container of our own pod is found by its id alone, unless two pods claim it', async () => {
  await using kubelet = await startKubelet();
  const cgroupsOf = (): Promise<string> => Promise.resolve(`0::/../${ID}`);
  const values = await kubelet.attestor({ cgroupsOf }).attest(processOf(100), never);
  assert.ok(values.includes('ns:shop'));
  kubelet.server.answer = json(list(POD, { ...POD, metadata: { ...POD.metadata, uid: 'other' } }));
  await assert.rejects(kubelet.attestor({ cgroupsOf }).attest(processOf(100), never), /two pods/);
});

test('a container counts in the pod of its cgroup only', async () => {
  await using kubelet = await startKubelet(json(list({ ...POD, metadata: { ...POD.metadata, uid: 'other' } })));
  const attesting = kubelet.attestor({ pollAttempts: 2 }).attest(processOf(100), never);
  await assert.rejects(moveOn(kubelet.clock, attesting), { code: 'not_found' });
});

test('a caller in no pod has no selectors, and nobody is asked', async () => {
  await using kubelet = await startKubelet();
  const attestor = kubelet.attestor({ cgroupsOf: () => Promise.resolve('0::/user.slice/user-1000.slice') });
  assert.deepEqual(await attestor.attest(processOf(100), never), []);
  assert.deepEqual(await attestor.attest(processOf(0), never), []);
  assert.equal(kubelet.server.requests.length, 0);
});

test('cgroups that name two containers fail', async () => {
  await using kubelet = await startKubelet();
  const cgroup = `2:cpu:/kubepods/pod${UID}/${ID}\n${CGROUP.replace(ID, INIT_ID)}`;
  const attestor = kubelet.attestor({ cgroupsOf: () => Promise.resolve(cgroup) });
  await assert.rejects(attestor.attest(processOf(100), never), /more than one container/);
});

test('a new container is looked for until the kubelet has heard of it', async () => {
  let asked = 0;
  await using kubelet = await startKubelet((request, response) => {
    asked += 1;
    json(asked < 5 ? list() : list(POD))(request, response);
  });
  const values = await moveOn(kubelet.clock, kubelet.attestor().attest(processOf(100), never));
  assert.ok(values.includes('container-name:envoy'));
  assert.equal(asked, 5);
});

test('a container that the kubelet never hears of fails after the last attempt', async () => {
  await using kubelet = await startKubelet(json(list()));
  const attesting = kubelet.attestor({ pollAttempts: 60 }).attest(processOf(100), never);
  await assert.rejects(moveOn(kubelet.clock, attesting), {
    code: 'not_found',
    message: 'the kubelet does not know the container',
  });
  assert.equal(kubelet.server.requests.length, 60);
});

test('a caller that leaves stops looking at once', async () => {
  await using kubelet = await startKubelet(json(list()));
  const leaving = new AbortController();
  const attesting = kubelet.attestor().attest(processOf(100), leaving.signal);
  while (kubelet.clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
  leaving.abort(new Error('left'));
  await assert.rejects(attesting, { message: 'left' });
  assert.equal(kubelet.clock.sleeping, 0);
});

test('callers share one request, and its answer for half of the interval; one that leaves does not end it', async () => {
  const held: (() => void)[] = [];
  await using kubelet = await startKubelet((request, response) => {
    held.push(() => json(list(POD))(request, response));
  });
  const attestor = kubelet.attestor();
  const leaving = new AbortController();
  const left = assert.rejects(attestor.attest(processOf(99), leaving.signal), { message: 'left' });
  const all = Promise.all(Array.from({ length: 100 }, () => attestor.attest(processOf(100), never)));
  while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
  leaving.abort(new Error('left'));
  await left;
  held[0]?.();
  assert.ok((await all).every((values) => values.length === VALUES.length));
  await kubelet.clock.advance(249);
  await attestor.attest(processOf(101), never);
  assert.equal(kubelet.server.requests.length, 1);
  await kubelet.clock.advance(1);
  const later = attestor.attest(processOf(102), never);
  while (held.length === 1) await new Promise((resolve) => setImmediate(resolve));
  held[1]?.();
  await later;
  assert.equal(kubelet.server.requests.length, 2);
});

test('an answer that is wrong fails at once, and the next caller asks again', async () => {
  await using kubelet = await startKubelet();
  const attestor = kubelet.attestor();
  const cases: readonly (readonly [answer: Answer, reason: RegExp])[] = [
    [json({}, 401), /status 401/],
    [json({}, 403), /status 403/],
    [json({}, 404), /no \/pods/],
    [json({ kind: 'Status' }), /PodList/],
    [json(null), /PodList/],
    [(_, response) => void response.end('Forbidden'), /no JSON/],
    [(_, response) => void response.destroy(), /hang up|ECONNRESET/],
  ];
  for (const [answer, reason] of cases) {
    kubelet.server.answer = answer;
    await assert.rejects(attestor.attest(processOf(100), never), reason);
  }
  kubelet.server.answer = json(list(POD));
  assert.equal((await attestor.attest(processOf(100), never)).length, VALUES.length);
});

test('pods with fields of another type are passed over or lack them', async () => {
  const bare = { metadata: { uid: UID }, status: { containerStatuses: [null, 5, { containerID: `cri-o://${ID}` }] } };
  await using kubelet = await startKubelet(
    json(list(null, 5, 'x', {}, { metadata: 1 }, { metadata: { uid: 5 } }, bare)),
  );
  assert.deepEqual([...(await kubelet.attestor().attest(processOf(100), never))].sort(), [
    'pod-image-count:3',
    'pod-init-image-count:0',
    `pod-uid:${UID}`,
  ]);
});

test('over TLS the certificate is verified, and the token is read for each request', async () => {
  await using folder = await tempFolder();
  const [caFile, otherCaFile, tokenFile] = ['ca.crt', 'other.crt', 'token'].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ];
  const ca = await createWebCa();
  const certificate = await ca.issue([
    { type: 'dns', value: 'node-1' },
    { type: 'ip', value: '10.0.0.1' },
  ]);
  await writeFile(caFile, ca.ca);
  await writeFile(otherCaFile, (await createWebCa()).ca);
  await writeFile(tokenFile, 'first-token\n');
  await using server = await startHttpStandIn({ tls: certificate, answer: json(list(POD)) });
  const attest = (options: Partial<KubernetesAttestorOptions> = {}): Promise<readonly string[]> =>
    createKubernetesAttestor({
      kubeletAddress: '127.0.0.1',
      kubeletPort: server.port,
      caFile,
      skipKubeletVerification: false,
      tokenFile,
      pollAttempts: 1,
      pollIntervalMs: 10,
      clock: systemClock,
      cgroupsOf: () => Promise.resolve(CGROUP),
      ...options,
    }).attest(processOf(100), never);

  assert.equal((await attest()).length, VALUES.length); // on loopback the chain alone
  assert.equal(server.requests.at(-1)?.authorization, 'Bearer first-token');
  await writeFile(tokenFile, 'second-token');
  await attest({ nodeName: 'node-1' });
  assert.equal(server.requests.at(-1)?.authorization, 'Bearer second-token');
  await attest({ nodeName: '10.0.0.1' });
  const asked = server.requests.length;
  await assert.rejects(attest({ nodeName: 'node-2' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  await assert.rejects(attest({ nodeName: '127.0.0.1' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  await assert.rejects(attest({ caFile: otherCaFile }));
  await assert.rejects(attest({ caFile: join(folder.path, 'absent') }), { code: 'ENOENT' });
  await writeFile(tokenFile, 'two\nlines');
  await assert.rejects(
    attest(),
    (error: Error) => error.message.endsWith('holds no token') && !error.message.includes('lines'),
  );
  await rm(tokenFile);
  await assert.rejects(attest(), { code: 'ENOENT' });
  assert.equal(server.requests.length, asked, 'nobody who was not verified has seen a token');
  await writeFile(tokenFile, 'third-token');
  assert.equal((await attest({ caFile: otherCaFile, skipKubeletVerification: true })).length, VALUES.length);
});

test('with a client certificate no token is read', async () => {
  await using folder = await tempFolder();
  const ca = await createWebCa();
  const server = await ca.issue([{ type: 'dns', value: 'node-1' }]);
  const client = await ca.issue([{ type: 'dns', value: 'svidgate' }]);
  const files = { caFile: 'ca.crt', clientCertificateFile: 'client.crt', clientKeyFile: 'client.key' };
  const paths = Object.fromEntries(
    Object.entries(files).map(([key, name]) => [key, join(folder.path, name)]),
  ) as typeof files;
  await Promise.all([
    writeFile(paths.caFile, ca.ca),
    writeFile(paths.clientCertificateFile, client.cert),
    writeFile(paths.clientKeyFile, client.key),
  ]);
  await using kubelet = await startHttpStandIn({ tls: { ...server, clientCa: ca.ca }, answer: json(list(POD)) });
  const values = await createKubernetesAttestor({
    ...paths,
    kubeletAddress: '127.0.0.1',
    kubeletPort: kubelet.port,
    skipKubeletVerification: false,
    tokenFile: join(folder.path, 'absent'),
    nodeName: 'node-1',
    pollAttempts: 1,
    pollIntervalMs: 10,
    clock: systemClock,
    cgroupsOf: () => Promise.resolve(CGROUP),
  }).attest(processOf(100), never);
  assert.equal(values.length, VALUES.length);
  assert.equal(kubelet.requests[0]?.authorization, undefined);
});

test('labels of the namespace come from the API server, once for callers that come together', async () => {
  await using kubelet = await startKubelet();
  const caFile = join(kubelet.folder.path, 'ca.crt');
  const tokenFile = join(kubelet.folder.path, 'token');
  const ca = await createWebCa();
  await writeFile(caFile, ca.ca);
  await writeFile(tokenFile, 'api-token');
  const labels = { 'kubernetes.io/metadata.name': 'shop', tier: 'gold' };
  await using api = await startHttpStandIn({
    tls: await ca.issue([{ type: 'ip', value: '127.0.0.1' }]),
    answer: json({ kind: 'Namespace', metadata: { name: 'shop', labels } }),
  });
  const namespaceLabels = {
    apiServerAddress: '127.0.0.1',
    apiServerPort: api.port,
    apiServerCaFile: caFile,
    apiServerTokenFile: tokenFile,
  };
  const attestor = kubelet.attestor({ namespaceLabels });
  const all = await Promise.all(Array.from({ length: 20 }, () => attestor.attest(processOf(100), never)));
  for (const values of all) {
    assert.deepEqual(values.slice(VALUES.length), ['ns-label:kubernetes.io/metadata.name:shop', 'ns-label:tier:gold']);
  }
  assert.deepEqual(api.requests, [{ path: '/api/v1/namespaces/shop', authorization: 'Bearer api-token' }]);

  await kubelet.clock.advance(1000);
  const refusals: readonly Answer[] = [json({}, 403), json({}, 404), json({ metadata: { name: 'other' } }), json(null)];
  for (const answer of refusals) {
    api.answer = answer;
    await assert.rejects(attestor.attest(processOf(100), never));
  }
  kubelet.server.answer = json(list({ ...POD, metadata: { ...POD.metadata, namespace: '../../secrets' } }));
  await kubelet.clock.advance(1000);
  await assert.rejects(attestor.attest(processOf(100), never), /no valid namespace/);
  assert.equal(api.requests.length, 1 + refusals.length);
});
