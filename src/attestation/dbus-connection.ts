import { createConnection, type Socket } from 'node:net';
import { abortable } from './abortable.ts';
import { decodeMessage, encodeCall, messageLength, type DbusCall, type DbusMessage } from './dbus-message.ts';

/** A call with its serial still to come. */
export type DbusRequest = Omit<DbusCall, 'serial'>;

export interface DbusConnection {
  /** The first argument of the answer, a text. Rejects with a DbusError when the called one answers with an error. */
  call(request: DbusRequest, signal: AbortSignal): Promise<string>;
  close(): void;
}

/** What the called one answered instead, such as org.freedesktop.DBus.Error.AccessDenied. Its words are not kept. */
export class DbusError extends Error {
  override readonly name = 'DbusError';
  readonly errorName: string;

  constructor(errorName: string) {
    super(`D-Bus error ${/^[A-Za-z0-9_.]{1,255}$/.test(errorName) ? errorName : 'without a valid name'}`);
    this.errorName = errorName;
  }
}

interface Waiting {
  readonly resolve: (text: string) => void;
  readonly reject: (error: Error) => void;
}

/** What a bus says before it speaks D-Bus. */
const MAX_AUTH_BYTES = 4096;

/**
 * Connects to a bus, says who we are (SASL EXTERNAL: the kernel tells the bus our user) and introduces itself (Hello).
 * Rejects when the bus refuses, breaks the protocol, or the signal is aborted; the connection then is closed.
 */
export async function connectToBus(path: string, signal: AbortSignal): Promise<DbusConnection> {
  const connection = new Connection(createConnection({ path }));
  try {
    await abortable(connection.authenticated, signal);
    await connection.call(
      { destination: BUS, path: '/org/freedesktop/DBus', interface: BUS, member: 'Hello', body: [] },
      signal,
    );
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

const BUS = 'org.freedesktop.DBus';

class Connection implements DbusConnection {
  readonly authenticated: Promise<void>;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #login = Promise.withResolvers<void>();
  #received = Buffer.alloc(0);
  #isAuthenticated = false;
  #serial = 0;
  #failure: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.authenticated = this.#login.promise;
    this.authenticated.catch(() => undefined); // whoever waits for it may have gone
    socket.on('data', (piece: Buffer) => this.#receive(piece));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the bus closed the connection')));
    // The empty answer lets the bus take the user from the kernel: ours may have another number there.
    socket.write('\0AUTH EXTERNAL\r\nDATA\r\n');
  }

  async call(request: DbusRequest, signal: AbortSignal): Promise<string> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#serial += 1;
    const serial = this.#serial;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.#waiting.set(serial, { resolve, reject });
    this.#socket.write(encodeCall({ ...request, serial }));
    try {
      return await abortable(promise, signal);
    } finally {
      this.#waiting.delete(serial);
    }
  }

  close(): void {
    this.#fail(new Error('the connection to the bus was closed'));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#login.reject(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#socket.destroy();
  }

  #receive(piece: Buffer): void {
    if (this.#failure !== undefined) return;
    this.#received = Buffer.concat([this.#received, piece]);
    try {
      if (!this.#isAuthenticated) this.#authenticate();
      if (this.#isAuthenticated) this.#readMessages();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error('the bus broke the protocol'));
    }
  }

  #authenticate(): void {
    for (;;) {
      const end = this.#received.indexOf('\r\n');
      if (end < 0 && this.#received.length > MAX_AUTH_BYTES) throw new Error('the bus broke the protocol');
      if (end < 0) return;
      const [command] = this.#received.toString('latin1', 0, end).split(' ');
      this.#received = this.#received.subarray(end + 2);
      if (command === 'DATA') continue; // to which we have answered already
      if (command !== 'OK') throw new Error('the bus does not let us in');
      this.#isAuthenticated = true;
      this.#socket.write('BEGIN\r\n');
      this.#login.resolve();
      return;
    }
  }

  #readMessages(): void {
    for (;;) {
      const length = messageLength(this.#received);
      if (length === undefined || this.#received.length < length) return;
      const message = decodeMessage(this.#received.subarray(0, length));
      this.#received = this.#received.subarray(length);
      this.#settle(message);
    }
  }

  /** Signals and calls are not ours to answer: nobody expects us to. */
  #settle({ kind, replySerial, errorName, text }: DbusMessage): void {
    if (kind !== 'return' && kind !== 'error') return;
    const waiting = this.#waiting.get(replySerial ?? 0);
    if (waiting === undefined) return; // nobody waits any more
    if (kind === 'error') waiting.reject(new DbusError(errorName ?? ''));
    else if (text === undefined) waiting.reject(new Error('the D-Bus answer holds no text'));
    else waiting.resolve(text);
  }
}
