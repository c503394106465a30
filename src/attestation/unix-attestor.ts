import { describeError, SvidgateError, type Logger, type Metrics } from '../core/index.ts';
import { selectorOf, type Selector } from '../spiffe/index.ts';
import type { PeerProcess } from '../transport/index.ts';
import { accountName } from './account-names.ts';
import { createExecutableDigests, type ExecutableDigests } from './executable-digest.ts';
import type { PeerTracker, TrackedProcess } from './peer-tracker.ts';
import { isPathGenuine, readProcessImage, sameImage } from './process-files.ts';

export interface UnixAttestorOptions {
  readonly tracker: PeerTracker;
  /** Also `unix:path` and `unix:sha256`. */
  readonly discoverWorkloadPath: boolean;
  /** Callers of another pid namespace get `unix:uid` and `unix:gid` selectors alone, instead of being refused. */
  readonly allowWithoutPid: boolean;
  /** Whether to give `unix:sha256`; an executable that is larger than the limit gets none. */
  readonly executableDigest:
    { readonly kind: 'off' } | { readonly kind: 'unlimited' } | { readonly kind: 'limited'; readonly maxBytes: number };
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** A caller whose selectors are proven. */
export interface Attestation {
  readonly selectors: ReadonlySet<Selector>;
  /** Throws `attestation_failed` unless the process still lives and runs what was attested. Ask before each secret. */
  assertAlive(): void;
}

export interface Attestor {
  /** Finds out the caller's selectors, once for each connection unless it fails. Throws `attestation_failed`. */
  attest(peer: PeerProcess): Promise<Attestation>;
}

export function createUnixAttestor(options: UnixAttestorOptions): Attestor {
  const { tracker, logger, metrics } = options;
  const { executableDigest: limit } = options;
  const maxBytes = limit.kind === 'limited' ? limit.maxBytes : Number.MAX_SAFE_INTEGER;
  const digests = limit.kind === 'off' ? undefined : createExecutableDigests(maxBytes);
  const done = new WeakMap<PeerProcess, Promise<Attestation>>();

  const attest = async (peer: PeerProcess): Promise<Attestation> => {
    const fields = { caller_pid: peer.pid, caller_uid: peer.uid, caller_gid: peer.gid };
    try {
      const process = tracker.trackedProcess(peer);
      const selectors = await discover(process, options, digests);
      assertUnchanged(process);
      metrics.count('svidgate_attestations_total', { result: 'attested' });
      logger.info({ ...fields, selectors: [...selectors] }, 'caller attested');
      return { selectors, assertAlive: () => process.assertAlive() };
    } catch (error) {
      metrics.count('svidgate_attestations_total', { result: 'failed' });
      logger.warn({ ...fields, reason: describeError(error) }, 'caller attestation failed');
      if (error instanceof SvidgateError) throw error;
      throw new SvidgateError('attestation_failed', 'workload attestation failed', { cause: error });
    }
  };

  return {
    attest(peer) {
      const known = done.get(peer);
      if (known !== undefined) return known;
      const running = attest(peer);
      done.set(peer, running);
      // What failed may have passed (no file descriptor left), and Envoy asks again on the same connection.
      running.catch(() => done.delete(peer));
      return running;
    },
  };
}

async function discover(
  process: TrackedProcess,
  options: UnixAttestorOptions,
  digests: ExecutableDigests | undefined,
): Promise<ReadonlySet<Selector>> {
  const { pid, uid, gid, image } = process;
  if (image === undefined && !options.allowWithoutPid) {
    throw new SvidgateError('attestation_failed', 'the caller is outside of the pid namespace of svidgate');
  }
  const selectors = new Set([selectorOf('unix', `uid:${uid}`), selectorOf('unix', `gid:${gid}`)]);
  const [user, group] = await Promise.all([accountName('/etc/passwd', uid), accountName('/etc/group', gid)]);
  if (user !== undefined) selectors.add(selectorOf('unix', `user:${user}`));
  if (group !== undefined) selectors.add(selectorOf('unix', `group:${group}`));
  if (image?.path !== undefined && options.discoverWorkloadPath) {
    if (isPathGenuine(pid, image)) selectors.add(selectorOf('unix', `path:${image.path}`));
    const sha256 = digests === undefined ? undefined : await digestOf(process, digests);
    if (sha256 !== undefined) selectors.add(selectorOf('unix', `sha256:${sha256}`));
  }
  return selectors;
}

async function digestOf(process: TrackedProcess, digests: ExecutableDigests): Promise<string | undefined> {
  const { pid, uid, exited: signal } = process;
  const { sha256, file } = await digests.digest({ pid, uid, signal });
  if (file !== process.image?.file) throw new SvidgateError('attestation_failed', 'the caller changed its executable');
  return sha256;
}

/** The second reading: what was attested must be what connected, and it must still be there. */
function assertUnchanged(process: TrackedProcess): void {
  if (process.image !== undefined && !sameImage(process.image, readProcessImage(process.pid))) {
    throw new SvidgateError('attestation_failed', 'the caller changed its executable during attestation');
  }
  process.assertAlive();
}
