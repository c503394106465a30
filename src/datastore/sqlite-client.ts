import { Worker } from 'node:worker_threads';
import { SvidgateError } from '../core/index.ts';
import {
  SQLITE_BUSY,
  SQLITE_CORRUPT,
  SQLITE_FULL,
  SQLITE_NOTADB,
  SQLITE_READONLY,
  type SqliteResult,
} from './sqlite.ts';
import type { SqliteReply, SqliteRequest, SqliteThreadData } from './sqlite-thread.ts';

/** A database in a thread of its own. Requests are answered in the order they were sent. */
export interface SqliteClient {
  /** Throws `datastore_failed`, with what to do. A round trip takes some 50 µs besides SQLite's own time. */
  send(request: SqliteRequest): Promise<SqliteResult>;
  /** Resolves when the file is closed and the thread has ended. */
  close(): Promise<void>;
}

interface Waiting {
  readonly resolve: (result: SqliteResult) => void;
  readonly reject: (error: SvidgateError) => void;
}

/** For other programs that read the file, such as the sqlite3 shell. */
const BUSY_TIMEOUT_MS = 5000;

/** Opens the file. Throws `datastore_failed`. */
export async function openSqliteClient(path: string): Promise<SqliteClient> {
  const client = new ThreadClient(path);
  try {
    await client.opened;
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

class ThreadClient implements SqliteClient {
  readonly opened: Promise<SqliteResult>;
  readonly #path: string;
  readonly #thread: Worker;
  readonly #exited: Promise<void>;
  readonly #waiting: Waiting[] = [];
  #failure: SvidgateError | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#thread = startThread({ path, busyTimeoutMs: BUSY_TIMEOUT_MS });
    this.#exited = new Promise((resolve) => this.#thread.once('exit', () => resolve()));
    this.#thread.on('message', (reply: SqliteReply) => this.#settle(reply));
    this.#thread.once('error', (error) => this.#end(error));
    this.#thread.once('exit', () => this.#end(new Error('its thread has ended')));
    this.opened = this.#expectReply();
  }

  async send(request: SqliteRequest): Promise<SqliteResult> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#thread.postMessage(request); // first: one that cannot be sent must not wait for the next one's reply
    return await this.#expectReply();
  }

  async close(): Promise<void> {
    try {
      if (this.#failure === undefined) await this.send({ kind: 'close' });
    } finally {
      this.#failure ??= failed(`${this.#path} is closed`);
      this.#thread.ref();
      await this.#exited;
    }
  }

  #expectReply(): Promise<SqliteResult> {
    // While somebody waits for an answer the process must not end; an idle thread does not hold it.
    this.#thread.ref();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  #settle(reply: SqliteReply): void {
    const waiting = this.#waiting.shift();
    if (this.#waiting.length === 0) this.#thread.unref();
    if (reply.kind === 'done') waiting?.resolve(reply.result);
    else waiting?.reject(failureOf(reply, this.#path));
  }

  #end(cause: Error): void {
    this.#failure ??= failed(`${this.#path} cannot be used any more: restart svidgate`, cause);
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#failure);
  }
}

function startThread(workerData: SqliteThreadData): Worker {
  // TypeScript in the sources, JavaScript in the package: the extension of this file.
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
  return new Worker(new URL(`./sqlite-thread${extension}`, import.meta.url), {
    workerData,
    env: {},
    execArgv: [],
    name: 'svidgate datastore',
    // What the thread prints (Node's warning that SQLite is experimental) is left unread: reading would hold the process.
    stdout: true,
    stderr: true,
  });
}

const DAMAGED = 'is damaged: stop svidgate, move the file away and restore a backup with `svidgate restore`';
const EXPLANATIONS: ReadonlyMap<number | undefined, string> = new Map([
  [SQLITE_CORRUPT, DAMAGED],
  [SQLITE_NOTADB, DAMAGED],
  [SQLITE_FULL, 'has no room to grow: free some on its disk'],
  [SQLITE_READONLY, 'is read-only: make it and its folder writable for svidgate'],
  [SQLITE_BUSY, 'is locked by another program: end it'],
]);

function failureOf({ message, code }: SqliteReply & { readonly kind: 'failed' }, path: string): SvidgateError {
  return failed(`${path} ${EXPLANATIONS.get(code) ?? 'cannot be read or written'}`, new Error(message));
}

function failed(message: string, cause?: Error): SvidgateError {
  return new SvidgateError('datastore_failed', message, cause === undefined ? undefined : { cause });
}
