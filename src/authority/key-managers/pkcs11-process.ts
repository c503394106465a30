import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describeError, SvidgateError, type Logger } from '../../core/index.ts';
import type { Pkcs11Answers, Pkcs11Reply, Pkcs11Request } from './pkcs11-messages.ts';
import type { TokenSelector } from './pkcs11-token.ts';
import { createQueue } from './queue.ts';
import { nameOfSource, readSecret, type SecretSource } from './secret-source.ts';

export interface Pkcs11ProcessOptions {
  /** Absolute path of the vendor's module. */
  readonly module: string;
  readonly token: TokenSelector;
  readonly pin: SecretSource;
  readonly logger: Logger;
  /** How long the token may take for one call; default 30 s, and six times as long to make a key. */
  readonly timeLimitMs?: number;
}

type CallName = Pkcs11Request['call'];
type RequestOf<Name extends CallName> = Extract<Pkcs11Request, { readonly call: Name }>;

const TIME_LIMIT_MS = 30_000;
/** Some tokens take minutes for RSA with 4096 bits. */
const GENERATE_FACTOR = 6;
/** After a failure the next calls fail with it for so long, rather than starting one process after the other. */
const COOL_DOWN_MS = 1000;
const EXIT_LIMIT_MS = 5000;

/** The session or the whole child is gone: a new one may do. */
class SessionLost extends Error {
  override readonly name = 'SessionLost';
}

/**
 * The process that holds the module, its session and its login. Calls go to it one after the other. When the session is
 * lost it is replaced once, and the call repeated. Throws `key_manager_failed`.
 */
export class Pkcs11Process {
  readonly #options: Pkcs11ProcessOptions;
  #child: ChildProcess | undefined;
  readonly #queue = createQueue();
  #isClosed = false;
  /** A token counts wrong PINs and locks itself up: one that was refused is not tried again. */
  #refusedPin: string | undefined;
  #coolDown: { readonly until: number; readonly error: SvidgateError } | undefined;

  constructor(options: Pkcs11ProcessOptions) {
    this.#options = options;
  }

  /** Loads the module and logs in. */
  async open(): Promise<void> {
    await this.#inTurn(async () => {
      await this.#openChild();
    });
  }

  async call<Name extends Exclude<CallName, 'open'>>(request: RequestOf<Name>): Promise<Pkcs11Answers[Name]> {
    return await this.#inTurn(async () => {
      // Without a child this is a new start already, and there is nothing to repeat.
      if (this.#child === undefined) return await this.#ask(await this.#openChild(), request);
      try {
        return await this.#ask(this.#child, request);
      } catch (error) {
        if (!(error instanceof SessionLost)) throw error;
        this.#options.logger.warn({ reason: error.message }, 'the pkcs11 session was lost and is opened again');
        return await this.#ask(await this.#openChild(), request);
      }
    });
  }

  /** Logs out, after the call that is under way. No later one is served. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const patience = new AbortController();
    const idle = this.#queue(async () => undefined);
    await Promise.race([idle, elapsed(EXIT_LIMIT_MS, patience.signal)]);
    if (this.#child?.connected === true) this.#child.disconnect(); // it then finalises the module
    const exited = this.#child === undefined ? undefined : exitOf(this.#child);
    await Promise.race([exited, elapsed(EXIT_LIMIT_MS, patience.signal)]);
    patience.abort();
    await this.#kill();
  }

  /** One at a time, in the order of the calls. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return await this.#queue(async () => {
      if (this.#isClosed) throw failed('the key manager is closed');
      if (this.#coolDown !== undefined && performance.now() < this.#coolDown.until) throw this.#coolDown.error;
      try {
        return await work();
      } catch (caught) {
        if (this.#isClosed) throw failed('the key manager is closed');
        const error = failed(`the PKCS #11 token cannot be used: ${describeError(caught)}`);
        if (this.#child === undefined) this.#coolDown = { until: performance.now() + COOL_DOWN_MS, error };
        throw error;
      }
    });
  }

  async #openChild(): Promise<ChildProcess> {
    const { module, token, pin: source } = this.#options;
    const pin = await readSecret(source);
    if (pin === this.#refusedPin) {
      throw new Error(`the PIN in ${nameOfSource(source)} was refused, and is not tried again until it is changed`);
    }
    if (this.#isClosed) throw new Error('closed in between');
    const child = startChild(source);
    this.#child = child;
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
    try {
      const reply = await this.#exchange(child, { call: 'open', module, token, pin: Buffer.from(pin) });
      this.#refusedPin = reply.failure === 'pin_refused' ? pin : undefined;
      if (reply.failure !== undefined) throw new Error(reply.message);
      return child;
    } catch (error) {
      await this.#kill();
      throw error;
    }
  }

  async #ask<Name extends CallName>(child: ChildProcess, request: RequestOf<Name>): Promise<Pkcs11Answers[Name]> {
    const reply = await this.#exchange(child, request);
    if (reply.failure === undefined) return reply.value as Pkcs11Answers[Name];
    if (reply.failure !== 'lost') throw new Error(reply.message);
    await this.#kill();
    throw new SessionLost(reply.message);
  }

  /** The child's reply. One that does not come in time ends the child: nothing else ends a call that hangs in native code. */
  async #exchange(child: ChildProcess, request: Pkcs11Request): Promise<Pkcs11Reply> {
    const { timeLimitMs = TIME_LIMIT_MS } = this.#options;
    const limitMs = request.call === 'generate' ? GENERATE_FACTOR * timeLimitMs : timeLimitMs;
    const done = new AbortController();
    const { signal } = done;
    const replied = once(child, 'message', { signal }).then(([reply]) => reply as Pkcs11Reply);
    const ended = exitOf(child, signal).then((how) => {
      throw new SessionLost(`its process ended ${how}`);
    });
    const expired = elapsed(limitMs, signal).then(() => 'expired' as const);
    for (const loser of [replied, ended, expired]) loser.catch(() => undefined);
    // A channel that is closed is told by the child's exit.
    child.send(request, () => undefined);
    try {
      const reply = await Promise.race([replied, ended, expired]);
      if (reply !== 'expired') return reply;
      await this.#kill();
      throw new Error(`no answer within ${limitMs / 1000} s`);
    } finally {
      done.abort();
    }
  }

  async #kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    child.kill('SIGKILL');
    await exitOf(child);
  }
}

function startChild(pin: SecretSource): ChildProcess {
  // TypeScript in the sources, JavaScript in the package: the extension of this file.
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
  const { ...env } = process.env;
  if (pin.env !== undefined) Reflect.deleteProperty(env, pin.env);
  const child = fork(fileURLToPath(new URL(`./pkcs11-child${extension}`, import.meta.url)), {
    env,
    execArgv: ['--disallow-code-generation-from-strings'],
    serialization: 'advanced',
    // What a module prints is not ours, and could be anything.
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  child.on('error', () => undefined); // an exit follows, or the child never was
  return child;
}

/** How the child ended: `with 1` or `by SIGKILL`. Resolves at once when it has. */
async function exitOf(child: ChildProcess, signal?: AbortSignal): Promise<string> {
  if (child.pid === undefined) return 'before it began';
  if (child.exitCode === null && child.signalCode === null) {
    await once(child, 'exit', signal === undefined ? undefined : { signal });
  }
  return child.signalCode === null ? `with ${child.exitCode}` : `by ${child.signalCode}`;
}

async function elapsed(ms: number, signal: AbortSignal): Promise<void> {
  await pause(ms, undefined, { signal });
}

function failed(message: string): SvidgateError {
  return new SvidgateError('key_manager_failed', message);
}
