/**
 * attestation: who is at the other end of a Unix socket, as selectors: proven by the kernel and /proc, told by systemd,
 * the container engine and the kubelet.
 * Promises: a caller that ended, changed its executable or cannot be seen gets no selectors, whoever has its pid by
 * then; selectors are bounded and fit to be logged once masked. Must not know SPIFFE IDs or protocols.
 */
export { createAttestor, type Attestation, type Attestor, type AttestorOptions } from './attestor.ts';
export { openKernel, type Kernel } from './kernel.ts';
export { createPeerTracker, type PeerTracker, type TrackedProcess } from './peer-tracker.ts';
export { maskSelector } from './selectors.ts';
export { createUnixAttestor, type UnixAttestorOptions } from './unix-attestor.ts';
export type { WorkloadAttestor } from './workload-attestor.ts';
