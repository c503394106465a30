import { createBackoff, describeError, SvidgateError, type Clock, type Logger } from '../core/index.ts';
import {
  createVaultConnection,
  type Json,
  type VaultAnswer,
  type VaultConnection,
  type VaultMethod,
} from './vault-connection.ts';
import { answerOf, faultOf, isServerFault, mayPass, type Outcome } from './vault-fault.ts';
import {
  givenToken,
  LoginRefusal,
  logIn,
  makesTokens,
  renew,
  type Exchange,
  type VaultAuth,
  type VaultLogin,
} from './vault-login.ts';

export interface VaultClientOptions {
  /** `https://HOST:PORT` without a slash at its end; http is for loopback. */
  readonly address: string;
  /** Of Vault Enterprise or OpenBao. */
  readonly namespace?: string;
  /** PEM of the CAs that the server's certificate is checked with; the system's when absent. Read again when a connection fails. */
  readonly caFile?: string;
  readonly auth: VaultAuth;
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface VaultRequest {
  readonly method: VaultMethod;
  /** Beneath `/v1/`, each segment encoded already. May be tried again: asking twice must do no harm. */
  readonly path: string;
  readonly body?: Json;
  /** The code of errors. */
  readonly failsAs: 'key_manager_failed' | 'upstream_failed';
  readonly signal?: AbortSignal | undefined;
  /** Bound of the whole, with login and repetitions. Default 10 s. */
  readonly timeoutMs?: number;
}

/** Speaks to Vault or OpenBao: keeps itself logged in, and tries again for a while what may pass. */
export interface VaultClient {
  /**
   * The `data` of the answer, `{}` where there is none; undefined when what was asked for is not there. Throws
   * `failsAs` with what is wrong (unreachable, sealed, standby, refused, no answer in time), never with a token; `canceled` when
   * the signal is aborted.
   */
  send(request: VaultRequest): Promise<Json | undefined>;
  /** Ends what is under way, and gives a token that we made back to the server if that is quickly done. */
  close(): Promise<void>;
}

const TIMEOUT_MS = 10_000;
const HEALTH_TIMEOUT_MS = 2000;
const FAREWELL_MS = 1000;
const MAX_ATTEMPTS = 4;
/** Looks at the clock at least this often, since a machine can sleep and a clock can be set. */
const LONGEST_WAIT_MS = 60_000;

export function createVaultClient(options: VaultClientOptions): VaultClient {
  const { address, namespace, caFile, auth } = options;
  const clientCertificate = auth.kind === 'certificate' ? auth : undefined;
  return new Client(options, createVaultConnection({ address, namespace, caFile, clientCertificate }));
}

interface Session extends VaultLogin {
  /** By the clock. */
  readonly since: number;
}

class Client implements VaultClient {
  readonly #options: VaultClientOptions;
  readonly #connection: VaultConnection;
  readonly #closed = new AbortController();
  #session: Session | undefined;
  #pending: Promise<Session> | undefined;
  #keeping: Promise<void> | undefined;

  constructor(options: VaultClientOptions, connection: VaultConnection) {
    this.#options = options;
    this.#connection = connection;
  }

  async send(request: VaultRequest): Promise<Json | undefined> {
    const { signal: asked, timeoutMs = TIMEOUT_MS, failsAs } = request;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([this.#closed.signal, timeout, ...(asked === undefined ? [] : [asked])]);
    const outcome = await this.#insist(request, signal);
    const answer = 'error' in outcome ? undefined : outcome.answer;
    if (answer !== undefined && isNothing(answer)) return undefined;
    if (answer !== undefined && isSuccess(answer)) return (answer.body?.['data'] ?? {}) as Json;
    if (this.#closed.signal.aborted) throw new SvidgateError(failsAs, 'the connection to Vault is closed');
    if (asked?.aborted === true) throw new SvidgateError('canceled', 'the request to Vault was canceled');
    const decisive = answerOf(outcome);
    const health = decisive !== undefined && isServerFault(decisive) ? await this.#health() : undefined;
    const { method, path } = request;
    const { address, auth } = this.#options;
    throw faultOf(
      outcome,
      { address, method, path, authKind: auth.kind, failsAs, timeoutMs, timedOut: timeout.aborted },
      health,
    );
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#closed.abort();
    await this.#keeping;
    this.#session = undefined;
    if (session !== undefined && makesTokens(this.#options.auth)) {
      const call = { method: 'POST', path: 'auth/token/revoke-self', body: {}, token: session.token } as const;
      await this.#connection.exchange({ ...call, signal: AbortSignal.timeout(FAREWELL_MS) }).catch(() => undefined);
    }
    this.#connection.close();
  }

  async #insist(request: VaultRequest, signal: AbortSignal): Promise<Outcome> {
    const backoff = createBackoff({ baseMs: 100, maxMs: 1000 });
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#try(request, signal);
      if (signal.aborted || attempt === MAX_ATTEMPTS || !mayPass(outcome)) return outcome;
      this.#connection.refresh();
      await this.#options.clock.sleep(backoff.next(), signal).catch(() => undefined);
    }
  }

  async #try({ method, path, body }: VaultRequest, signal: AbortSignal): Promise<Outcome> {
    try {
      const session = await this.#sessionNow(signal);
      const ask = ({ token }: Session): Promise<VaultAnswer> =>
        this.#connection.exchange({ method, path, body, token, signal });
      const answer = await ask(session);
      if (answer.status !== 403) return { answer };
      // The token was revoked, or the policy says no: another token tells.
      const next = await this.#sessionAfter(session, signal);
      return { answer: next.token === session.token ? answer : await ask(next) };
    } catch (error) {
      return { error };
    }
  }

  async #sessionNow(signal: AbortSignal): Promise<Session> {
    const { auth, clock } = this.#options;
    const session = this.#session;
    const isOver = session !== undefined && session.leaseMs > 0 && clock.now() >= session.since + session.leaseMs;
    if (session !== undefined && !isOver && !(await this.#hasOtherToken(auth, session))) return session;
    return await this.#newSession(signal);
  }

  /** While its file is replaced, a token that was read before is still the best we have. */
  async #hasOtherToken(auth: VaultAuth, session: Session): Promise<boolean> {
    if (auth.kind !== 'token_file') return false;
    const token = await givenToken(auth).catch(() => session.token);
    return token !== session.token;
  }

  async #sessionAfter(refused: Session, signal: AbortSignal): Promise<Session> {
    if (this.#session === refused) this.#session = undefined;
    return await this.#sessionNow(signal);
  }

  /** One login at a time, whoever asks; each waits no longer than its own signal allows. */
  async #newSession(signal: AbortSignal): Promise<Session> {
    this.#pending ??= this.#logIn().finally(() => (this.#pending = undefined));
    const pending = this.#pending;
    return await new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
      pending.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
      if (signal.aborted) onAbort();
    });
  }

  async #logIn(): Promise<Session> {
    const { auth, clock, logger } = this.#options;
    const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    // The files of the certificate may be new ones.
    if (auth.kind === 'certificate') this.#connection.refresh();
    const login = await logIn(auth, this.#exchangeUntil(signal));
    this.#closed.signal.throwIfAborted();
    const session = { ...login, since: clock.now() };
    this.#session = session;
    logger.debug({ reason: auth.kind }, 'logged in to vault');
    if (login.leaseMs > 0) this.#keeping ??= this.#keepLoggedIn();
    return session;
  }

  /** Logs in again, or has a token that was given renewed, when two thirds of its life have passed. */
  async #keepLoggedIn(): Promise<void> {
    const { clock, logger } = this.#options;
    const { signal } = this.#closed;
    const backoff = createBackoff({ baseMs: 1000, maxMs: 30_000 });
    let waitMs = 0;
    let told = '';
    while (!signal.aborted) {
      await clock.sleep(waitMs, signal).catch(() => undefined);
      const session = this.#session;
      if (session === undefined || signal.aborted || clock.now() < renewAt(session)) {
        const leftMs = session === undefined ? LONGEST_WAIT_MS : renewAt(session) - clock.now();
        waitMs = Math.min(LONGEST_WAIT_MS, Math.max(1, leftMs));
        continue;
      }
      try {
        await this.#prolong(session, signal);
        backoff.reset();
        told = '';
        waitMs = 0;
      } catch (error) {
        if (signal.aborted) return;
        waitMs = backoff.next();
        const reason = reasonOf(error);
        const expiresAt = new Date(session.since + session.leaseMs).toISOString();
        if (reason !== told) logger.warn({ reason, expires_at: expiresAt }, 'vault login not renewed');
        told = reason;
      }
    }
  }

  async #prolong(session: Session, signal: AbortSignal): Promise<void> {
    const { auth } = this.#options;
    if (makesTokens(auth) || (await this.#hasOtherToken(auth, session))) return void (await this.#newSession(signal));
    if (!session.isRenewable) throw new SvidgateError('config_invalid', 'the token cannot be renewed');
    const until = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const login = await renew(session, this.#exchangeUntil(until));
    if (login === undefined) throw new SvidgateError('config_invalid', 'the server does not renew the token');
    if (this.#session === session) this.#session = { ...login, token: session.token, since: this.#options.clock.now() };
  }

  #exchangeUntil(signal: AbortSignal): Exchange {
    return (call) => this.#connection.exchange({ ...call, signal });
  }

  async #health(): Promise<VaultAnswer | undefined> {
    const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(HEALTH_TIMEOUT_MS)]);
    const call = { method: 'GET', path: 'sys/health', withoutNamespace: true, signal } as const;
    return await this.#connection.exchange(call).catch(() => undefined);
  }
}

/** Infinity for a token that does not end. */
function renewAt({ since, leaseMs }: Session): number {
  return leaseMs === 0 ? Number.POSITIVE_INFINITY : since + (leaseMs * 2) / 3;
}

function reasonOf(error: unknown): string {
  return error instanceof LoginRefusal ? `the login was refused with ${error.answer.status}` : describeError(error);
}

/** Where a path is not there at all, such as a mount, the server says so in `errors`. */
function isNothing({ status, body }: VaultAnswer): boolean {
  const errors = body?.['errors'];
  return status === 404 && Array.isArray(errors) && errors.length === 0;
}

function isSuccess({ status, body }: VaultAnswer): boolean {
  return status === 204 || (status === 200 && body !== undefined);
}
