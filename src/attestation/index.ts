/**
 * attestation: who is at the other end of a Unix socket, as selectors: proven by the kernel and /proc, told by systemd,
 * the container engine and the kubelet.
 * Promises: a caller that ended, changed its executable or cannot be seen gets no selectors, whoever has its pid by
 * then; selectors are bounded and fit to be logged once masked. Must not know SPIFFE IDs or protocols.
 */
export { createAttestor, type Attestation, type Attestor, type AttestorOptions } from './attestor.ts';
export { createDockerAttestor, type DockerAttestorOptions } from './docker-attestor.ts';
export { explainAttestation, type ExplainedAttestor, type ExplainRequest, type Explanation } from './explain.ts';
export { openKernel, type Kernel } from './kernel.ts';
export type { KubeletOptions } from './kubelet.ts';
export { createKubernetesAttestor, type KubernetesAttestorOptions } from './kubernetes-attestor.ts';
export type { NamespaceLabelsOptions } from './namespace-labels.ts';
export type { NearMiss, RankedEntries } from './nearest-entries.ts';
export { createPeerTracker, type PeerTracker, type TrackedProcess } from './peer-tracker.ts';
export { maskSelector } from './selectors.ts';
export { createSystemdAttestor, type SystemdAttestorOptions } from './systemd-attestor.ts';
export { createUnixAttestor, type UnixAttestorOptions } from './unix-attestor.ts';
export type { WorkloadAttestor } from './workload-attestor.ts';
