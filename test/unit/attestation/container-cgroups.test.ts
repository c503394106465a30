import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { containerCgroups, isInContainer, locatePod } from '../../../src/attestation/container-cgroups.ts';

const A = 'a1'.repeat(32);
const B = 'b2'.repeat(32);
const UID = '6b7f1c2e-0a1b-4c2d-8e3f-001122334455';
const ESCAPED_UID = UID.replaceAll('-', '_');
const OTHER = '11111111-2222-3333-4444-555555555555';
const STATIC = 'f32fd1e5a0a24d4fbb1fe5fd3b2d5a31';

test('pod and container are found in the layouts of all drivers and runtimes', () => {
  const burstable = '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod';
  const cases: Readonly<Record<string, string>> = {
    'cgroupfs, guaranteed': `0::/kubepods/pod${UID}/${A}`,
    'cgroupfs, burstable': `0::/kubepods/burstable/pod${UID}/${A}`,
    'cgroupfs, besteffort, v1': `11:memory:/kubepods/besteffort/pod${UID}/${A}\n10:cpu,cpuacct:/kubepods/besteffort/pod${UID}/${A}\n1:name=systemd:/kubepods/besteffort/pod${UID}/${A}`,
    'systemd, containerd': `0::${burstable}${ESCAPED_UID}.slice/cri-containerd-${A}.scope`,
    'systemd, CRI-O': `0::${burstable}${ESCAPED_UID}.slice/crio-${A}.scope`,
    'systemd, CRI-O with its inner cgroup': `0::${burstable}${ESCAPED_UID}.slice/crio-${A}.scope/container`,
    'systemd, Docker': `0::${burstable}${ESCAPED_UID}.slice/docker-${A}.scope`,
    'systemd, guaranteed': `0::/kubepods.slice/kubepods-pod${ESCAPED_UID}.slice/cri-containerd-${A}.scope`,
    'CRI-O, cgroupfs': `0::/kubepods/besteffort/pod${UID}/crio-${A}`,
    'containerd without scopes': `0::/system.slice/containerd.service/kubepods-burstable-pod${ESCAPED_UID}.slice:cri-containerd:${A}`,
    'containerd without scopes, at the root': `8:cpuset:/kubepods-besteffort-pod${ESCAPED_UID}.slice:cri-containerd:${A}`,
    k3s: `0::/k3s.slice/k3s.service/kubepods/burstable/pod${UID}/${A}`,
    'kind, seen from the host': `0::/docker/${B}/kubelet/kubepods/burstable/pod${UID}/${A}`,
    'kind, a kubelet slice': `0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${ESCAPED_UID}.slice/cri-containerd-${A}.scope`,
    'seen from another pod': `0::/../../burstable/pod${UID}/${A}`,
    'seen from another pod, systemd': `0::/../../kubepods-besteffort-pod${ESCAPED_UID}.slice/cri-containerd-${A}.scope`,
    'v1 with a hierarchy that has no container': `3:rdma:/\n2:memory:/kubepods/pod${UID}/${A}\n0::/`,
    'a line with the pod beside one with its node alone': `1:cpuset:/docker/${B}/kubepods/besteffort/pod${UID}/${A}\n0::/docker/${B}/system.slice/containerd.service`,
    'a process deeper in the container': `0::/kubepods/pod${UID}/${A}/init.scope/x`,
  };
  for (const [name, text] of Object.entries(cases)) {
    assert.deepEqual(locatePod(`${text}\n`), { kind: 'found', podUid: UID, containerId: A }, name);
  }
  const found = { kind: 'found', podUid: STATIC, containerId: A };
  assert.deepEqual(locatePod(`0::/kubepods/burstable/pod${STATIC}/${A}`), found, 'static pod');
  for (const text of [`0::/../${A}`, `0::/../cri-containerd-${A}.scope`, `0::/../../crio-${A}.scope/container`]) {
    assert.deepEqual(locatePod(text), { kind: 'found', containerId: A }, `a container of our own pod: ${text}`);
  }
});

test('nothing is found where there is no container of a pod', () => {
  const cases: Readonly<Record<string, string>> = {
    'our own container': '0::/',
    'a service': '0::/system.slice/nginx.service',
    'Docker without Kubernetes': `0::/system.slice/docker-${A}.scope`,
    'a pod without a container': `0::/kubepods/burstable/pod${UID}`,
    'something between pod and container': `0::/kubepods/pod${UID}/x/${A}`,
    'the monitor of CRI-O': `0::/kubepods.slice/kubepods-pod${ESCAPED_UID}.slice/crio-conmon-${A}.scope`,
    'an id that is too short': `0::/kubepods/pod${UID}/${A.slice(1)}`,
    'an id that is too long': `0::/kubepods/pod${UID}/${A}0`,
    'an id in capitals': `0::/kubepods/pod${UID}/${A.toUpperCase()}`,
    'a UID with both dashes': `0::/kubepods/pod${UID.replace('-', '_')}/${A}`,
    'a cgroup that was removed': `0::/kubepods/pod${UID}/${A} (deleted)`,
    'no cgroup file': 'text without meaning',
    empty: '',
  };
  for (const [name, text] of Object.entries(cases)) assert.deepEqual(locatePod(text), { kind: 'none' }, name);
});

test('cgroups that somebody made beneath their own are not believed', () => {
  const forged = `kubepods/burstable/pod${OTHER}/${B}`;
  const cases: readonly string[] = [
    `0::/user.slice/user-1000.slice/user@1000.service/app.slice/${forged}`,
    `0::/user.slice/user-1000.slice/session-3.scope/${forged}`,
    `0::/system.slice/delegated.service/${forged}`,
    `0::/machine.slice/machine-guest.scope/payload/${forged}`,
    `0::/machine.slice/libpod-${A}.scope/container/${forged}`,
    `0::/lxc.payload.guest/${forged}`,
    `4:memory:/lxc/guest/${forged}`,
    `0::/../../user.slice/user-1000.slice/user@1000.service/${forged}`,
    `0::/../../../system.slice/x.service/kubepods-burstable-pod${OTHER.replaceAll('-', '_')}.slice:cri-containerd:${B}`,
  ];
  for (const text of cases) assert.deepEqual(locatePod(text), { kind: 'none' }, text);
  const inPod = locatePod(`0::/kubepods/pod${UID}/${A}/${forged}`);
  assert.deepEqual(inPod, { kind: 'found', podUid: UID, containerId: A }, 'beneath a pod of its own');
});

test('lines that disagree are ambiguous', () => {
  const cases: readonly string[] = [
    `2:cpu:/kubepods/pod${UID}/${A}\n1:memory:/kubepods/pod${UID}/${B}`,
    `2:cpu:/kubepods/pod${UID}/${A}\n1:memory:/kubepods/pod${OTHER}/${A}`,
    `2:cpu:/../${A}\n1:memory:/../${B}`,
  ];
  for (const text of cases) assert.deepEqual(locatePod(text), { kind: 'ambiguous' }, text);
});

test('containers are found in the layouts of Docker and Podman, the outermost first', () => {
  const cases: readonly (readonly [text: string, ...ids: string[]])[] = [
    [`0::/docker/${A}`, A],
    [`0::/system.slice/docker-${A}.scope`, A],
    [`12:pids:/docker/${A}\n11:memory:/docker/${A}`, A, A],
    [`0::/docker/${A}/docker/${B}`, A, B],
    [`0::/docker/${A}/init`, A],
    [`0::/machine.slice/libpod-${A}.scope/container`, A],
    [`0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${A}.scope/container`, A],
    [`0::/machine.slice/libpod-conmon-${A}.scope`],
    [`0::/ecs/0123456789abcdef0123456789abcdef/${A}`, A],
    [`0::/actions_job/${A}`, A],
    [`0::/kubepods/burstable/pod${UID}/${A}`, A],
    ['0::/'],
    ['0::/system.slice/docker.service'],
  ];
  for (const [text, ...ids] of cases)
    assert.deepEqual(
      containerCgroups(text).map(({ id }) => id),
      ids,
      text,
    );
});

test('a process is in a container whose cgroup holds its own, by the same hierarchy', () => {
  const [container] = containerCgroups(`2:memory:/docker/${A}/init`);
  assert.ok(container !== undefined);
  const cases: readonly (readonly [text: string, isIn: boolean])[] = [
    [`2:memory:/docker/${A}`, true],
    [`2:memory:/docker/${A}/init`, true],
    [`3:cpu:/\n2:memory:/docker/${A}/other/deeper`, true],
    [`2:memory:/docker/${A}0`, false],
    [`2:memory:/docker/${B}`, false],
    [`2:memory:/other/docker/${A}`, false],
    [`1:cpu:/docker/${A}`, false],
    ['', false],
  ];
  for (const [text, isIn] of cases) assert.equal(isInContainer(text, container), isIn, text);
});

/** Texts that look like the real ones, with pieces in the wrong places. */
const piece = fc.oneof(
  fc.constantFrom(
    '0::',
    '2:cpu:',
    '/',
    '..',
    '\n',
    'kubepods',
    `pod${UID}`,
    `-pod${ESCAPED_UID}.slice`,
    A,
    B,
    `docker-${A}.scope`,
  ),
  fc.constantFrom(':cri-containerd:', 'user.slice', 'x.service', ' (deleted)', '\0', '\u202e', '_', 'pod'),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
  fc.stringMatching(/^[0-9a-f]{64}$/),
);
const cgroupText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(piece, { maxLength: 24 }).map((pieces) => pieces.join('')),
);

test('any text gives ids that stand in it, or none, and never an error', () => {
  fc.assert(
    fc.property(cgroupText, (text) => {
      const location = locatePod(text);
      if (location.kind === 'found') {
        assert.match(location.containerId, /^[0-9a-f]{64}$/);
        assert.ok(text.includes(location.containerId));
        if (location.podUid !== undefined) assert.ok(text.replaceAll('_', '-').includes(`pod${location.podUid}`));
      }
      for (const container of containerCgroups(text)) {
        assert.match(container.id, /^[0-9a-f]{64}$/);
        assert.ok(text.includes(container.id) && text.includes(container.path));
        assert.ok(isInContainer(text, container));
      }
    }),
    { numRuns: 3000 },
  );
});

test('a long text takes no longer than its length explains', () => {
  const started = performance.now();
  for (const text of [
    `0::${'/pod'.repeat(100_000)}`,
    `0::/${'a-'.repeat(200_000)}pod${UID}`,
    '0'.repeat(400_000),
    ':'.repeat(400_000),
    `0::/${'a'.repeat(400_000)}.scope`,
  ]) {
    locatePod(text);
    containerCgroups(text);
  }
  assert.ok(performance.now() - started < 5000);
});
