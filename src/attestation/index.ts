/**
 * attestation: who is at the other end of a Unix socket, proven by the kernel and /proc, as selectors.
 * Promises: a caller that ended, changed its executable or cannot be seen gets no selectors. Must not know entries,
 * SPIFFE IDs or protocols.
 */
export { openKernel, type Kernel } from './kernel.ts';
export { createPeerTracker, type PeerTracker } from './peer-tracker.ts';
export { createUnixAttestor, type Attestation, type Attestor, type UnixAttestorOptions } from './unix-attestor.ts';
