import {
  createBackoff,
  derive,
  describeError,
  SvidgateError,
  supervise,
  untilAborted,
  Watchable,
  type Clock,
  type Logger,
  type ReadonlyWatchable,
} from '../../core/index.ts';
import {
  decodeMessage,
  encodeMessage,
  JwtSvidRequest,
  JwtSvidResponse,
  WORKLOAD_API_SERVICE,
} from '../../proto/index.ts';
import {
  parseJwtSvid,
  type ForeignBundles,
  type JwtSvid,
  type SpiffeId,
  type TrustBundle,
  type TrustDomain,
  type X509Svid,
} from '../../spiffe/index.ts';
import { connectGrpc } from '../../transport/index.ts';
import { MAX_ANSWER_BYTES, readJwtBundles, readX509Svids } from './agent-answers.ts';
import { AgentBundles, sameBytes } from './agent-bundles.ts';

export interface WorkloadApiSourceOptions {
  /** Path of the agent's Unix socket. */
  readonly socket: string;
  /** What the agent gives must be of this one. */
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1; for the jitter of reconnections. */
  readonly random?: () => number;
}

/** What the agent does not give, or not any more: in the form of revocations, so that those who hold it drop it at once. */
export interface NotHeld {
  hasSerial(serial: string): boolean;
  hasSpiffeId(id: SpiffeId): boolean;
}

/**
 * Identities from an agent that is there already, to which we are a workload: it signs, we hand on. In the place of an
 * authority. While the agent is away, what it gave last stays, until it expires.
 */
export interface WorkloadApiSource {
  /** The own trust domain's bundle; without authorities until the agent has answered. */
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
  /** CAs in DER that the agent's SVIDs came with. */
  readonly intermediates: ReadonlyWatchable<readonly Uint8Array[]>;
  /** Changes with each SVID that the agent rotates, gives or takes away. Everything, until it has answered. */
  readonly notHeld: ReadonlyWatchable<NotHeld>;
  /** Why the agent is not followed at the moment; undefined while it is. */
  readonly problem: ReadonlyWatchable<string | undefined>;
  /** The SVID that the agent gave for this ID. Throws `upstream_failed` when it gives none, or when that has ended. */
  issueX509Svid(request: { readonly spiffeId: SpiffeId }): Promise<X509Svid>;
  /** A new JWT-SVID from the agent, within 10 s. Throws `upstream_failed`. */
  issueJwtSvid(request: { readonly spiffeId: SpiffeId; readonly audience: readonly string[] }): Promise<JwtSvid>;
  /** Follows the agent until the signal is aborted; connects again 1 s to 30 s after it was lost. */
  run(signal: AbortSignal): Promise<void>;
}

/** SPIFFE Workload Endpoint §4.2. */
const HEADERS = { 'workload.spiffe.io': 'true' };
const JWT_TIMEOUT_MS = 10_000;
const RECONNECT = { baseMs: 1000, maxMs: 30_000 };

export function createWorkloadApiSource(options: WorkloadApiSourceOptions): WorkloadApiSource {
  return new Source(options);
}

type Svids = ReadonlyMap<SpiffeId, X509Svid>;

class Source implements WorkloadApiSource {
  readonly #options: WorkloadApiSourceOptions;
  readonly #bundles: AgentBundles;
  readonly #svids = new Watchable<Svids>(new Map());
  readonly problem = new Watchable<string | undefined>('not connected yet');
  readonly notHeld: ReadonlyWatchable<NotHeld>;
  readonly intermediates: ReadonlyWatchable<readonly Uint8Array[]>;

  constructor(options: WorkloadApiSourceOptions) {
    this.#options = options;
    this.#bundles = new AgentBundles(options.trustDomain);
    this.notHeld = derive(this.#svids, notHeldOf);
    this.intermediates = derive(this.#svids, intermediatesOf);
  }

  get bundle(): ReadonlyWatchable<TrustBundle> {
    return this.#bundles.own;
  }

  get foreignBundles(): ReadonlyWatchable<ForeignBundles> {
    return this.#bundles.foreign;
  }

  async issueX509Svid({ spiffeId }: { readonly spiffeId: SpiffeId }): Promise<X509Svid> {
    const svid = this.#svids.value.get(spiffeId);
    if (svid === undefined) throw this.#failed(`gives no SVID for ${spiffeId}`);
    if (svid.notAfter <= this.#options.clock.now()) throw this.#failed(`has not renewed the SVID of ${spiffeId}`);
    return svid;
  }

  async issueJwtSvid(request: Parameters<WorkloadApiSource['issueJwtSvid']>[0]): Promise<JwtSvid> {
    const { spiffeId, audience } = request;
    try {
      using client = await connectGrpc({ socket: this.#options.socket, maxMessageBytes: MAX_ANSWER_BYTES });
      const bytes = await client.unary(
        WORKLOAD_API_SERVICE.fetchJwtSvid.path,
        encodeMessage(JwtSvidRequest, { audience, spiffeId }),
        { headers: HEADERS, timeoutMs: JWT_TIMEOUT_MS, signal: AbortSignal.timeout(2 * JWT_TIMEOUT_MS) },
      );
      const { svids } = decodeMessage(JwtSvidResponse, bytes, MAX_ANSWER_BYTES);
      const found = svids.find((svid) => svid.spiffeId === spiffeId);
      if (found === undefined) throw this.#failed(`gives no JWT-SVID for ${spiffeId}`);
      return this.#readJwtSvid(found.svid, request);
    } catch (cause) {
      if (cause instanceof SvidgateError && cause.code === 'upstream_failed') throw cause;
      throw this.#failed(`gave no JWT-SVID for ${spiffeId}`, cause);
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { trustDomain, logger } = this.#options;
    const tellX509 = unreadableTeller(logger, WORKLOAD_API_SERVICE.fetchX509Svid.path);
    const tellJwt = unreadableTeller(logger, WORKLOAD_API_SERVICE.fetchJwtBundles.path);
    await supervise(signal, [
      (until) =>
        this.#follow(WORKLOAD_API_SERVICE.fetchX509Svid.path, until, {
          take: (bytes) => {
            const identities = readX509Svids(bytes, trustDomain);
            // The bundle first: what a new SVID is verified with.
            this.#bundles.setX509(identities);
            this.#takeSvids(identities.svids);
            this.problem.set(undefined);
            tellX509(identities.foreign.unreadable);
          },
          lose: (reason) => this.problem.set(reason),
          deny: () => {
            if (this.#svids.value.size === 0) return;
            logger.warn({ count: this.#svids.value.size }, 'workload api took all identities back');
            this.#takeSvids(new Map());
          },
        }),
      (until) =>
        this.#follow(WORKLOAD_API_SERVICE.fetchJwtBundles.path, until, {
          take: (bytes) => {
            const read = readJwtBundles(bytes, trustDomain);
            this.#bundles.setJwt(read);
            tellJwt(read.unreadable);
          },
        }),
    ]);
  }

  /** The same object for an SVID that did not change, so that nobody takes it for another one. */
  #takeSvids(taken: Svids): void {
    const before = this.#svids.value;
    const svids = new Map([...taken].map(([id, svid]) => [id, sameSvid(before.get(id), svid) ?? svid]));
    const isSame = svids.size === before.size && [...svids].every(([id, svid]) => before.get(id) === svid);
    if (!isSame) this.#svids.set(svids);
  }

  /** One stream, for ever. An answer that is wrong is passed over: the last good one stays. */
  async #follow(path: string, signal: AbortSignal, on: StreamHandlers): Promise<void> {
    const { socket, clock, logger, random = Math.random } = this.#options;
    const backoff = createBackoff({ ...RECONNECT, random });
    let told = '';
    const tell = (error: unknown): void => {
      const reason = describeError(error);
      on.lose?.(reason);
      const { isUrgent, expiresAt } = this.#expiry();
      if (told === `${reason}${isUrgent}`) return;
      told = `${reason}${isUrgent}`;
      const fields = { method: path, reason, ...(expiresAt === undefined ? {} : { expires_at: expiresAt }) };
      if (isUrgent) logger.error(fields, 'workload api not followed, and svids are about to end');
      else logger.warn(fields, 'workload api not followed');
    };
    while (!signal.aborted) {
      try {
        using client = await connectGrpc({ socket, maxMessageBytes: MAX_ANSWER_BYTES });
        for await (const bytes of client.serverStream(path, new Uint8Array(), { signal, headers: HEADERS })) {
          backoff.reset();
          try {
            on.take(bytes);
            told = '';
          } catch (error) {
            tell(error);
          }
        }
        throw new SvidgateError('server_unreachable', 'the agent ended the stream');
      } catch (error) {
        if (signal.aborted) return;
        tell(error);
        const { code } = SvidgateError.from(error);
        if (code === 'permission_denied') on.deny?.();
        // Asking the same again would be refused again (Workload API §4.5).
        if (code === 'invalid_request') await untilAborted(signal, clock.sleep(Number.MAX_SAFE_INTEGER, signal));
      }
      await untilAborted(signal, clock.sleep(backoff.next(), signal));
    }
  }

  /** Urgent: less than a quarter of the life of the SVID that ends first is left. */
  #expiry(): { readonly isUrgent: boolean; readonly expiresAt?: string } {
    const [first] = [...this.#svids.value.values()].sort((one, other) => one.notAfter - other.notAfter);
    if (first === undefined) return { isUrgent: false };
    const left = first.notAfter - this.#options.clock.now();
    const isUrgent = left < (first.notAfter - first.notBefore) / 4;
    return { isUrgent, expiresAt: new Date(first.notAfter).toISOString() };
  }

  #readJwtSvid(token: string, asked: Parameters<WorkloadApiSource['issueJwtSvid']>[0]): JwtSvid {
    const { spiffeId, audience, issuedAt, expiresAt, keyId } = parseJwtSvid(token);
    if (spiffeId !== asked.spiffeId || asked.audience.some((name) => !audience.includes(name))) {
      throw this.#failed(`gave another JWT-SVID than one of ${asked.spiffeId} for the audience asked for`);
    }
    return { spiffeId, token, issuedAt: issuedAt ?? this.#options.clock.now(), expiresAt, keyId };
  }

  #failed(what: string, cause?: unknown): SvidgateError {
    return new SvidgateError('upstream_failed', `the agent at ${this.#options.socket} ${what}`, { cause });
  }
}

interface StreamHandlers {
  /** Throws for an answer that is wrong. */
  readonly take: (bytes: Uint8Array) => void;
  readonly lose?: (reason: string) => void;
  /** The agent says that we have no identity. */
  readonly deny?: () => void;
}

/** Warns of each foreign bundle that cannot be read: once, and again when it was good in between or the reason is another. */
function unreadableTeller(logger: Logger, method: string): (unreadable: ReadonlyMap<TrustDomain, string>) => void {
  let told: ReadonlyMap<TrustDomain, string> = new Map();
  return (unreadable) => {
    for (const [trustDomain, reason] of unreadable) {
      if (told.get(trustDomain) === reason) continue;
      logger.warn({ trust_domain: trustDomain, method, reason }, 'foreign bundle of the agent not taken');
    }
    told = unreadable;
  };
}

function intermediatesOf(svids: Svids): readonly Uint8Array[] {
  const above = [...svids.values()].flatMap(({ certificateChain }) => certificateChain.slice(1));
  return [...new Map(above.map((der) => [Buffer.from(der).toString('base64'), der])).values()];
}

function notHeldOf(svids: Svids): NotHeld {
  const serials = new Set([...svids.values()].map(({ serial }) => serial));
  return { hasSerial: (serial) => !serials.has(serial), hasSpiffeId: (id) => !svids.has(id) };
}

function sameSvid(one: X509Svid | undefined, other: X509Svid): X509Svid | undefined {
  const [a, b] = [one?.certificateChain ?? [], other.certificateChain];
  return a.length === b.length && a.every((der, index) => sameBytes(der, b[index] ?? new Uint8Array()))
    ? one
    : undefined;
}
