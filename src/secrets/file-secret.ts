import { hash } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SvidgateError, Watchable, type Clock, type Logger, type Metrics } from '../core/index.ts';
import type { FolderWatches } from './folder-watches.ts';
import { readBeneath, type FilePlace } from './read-beneath.ts';

export interface SecretFile extends FilePlace {
  /** Of a file that must not be open to others there is a warning when it is. */
  readonly isPrivate: boolean;
}

export interface FileSecretOptions<T> {
  readonly files: readonly SecretFile[];
  /** Makes of the files' bytes, in their order, what is used. Throws `config_invalid`; nothing secret in its message. */
  readonly parse: (files: readonly Uint8Array[]) => T;
  /** When it ends, in epoch milliseconds. It is used beyond that, with a warning: what stands in the files is the operator's word. */
  readonly endOf?: (value: T) => number | undefined;
}

export interface FileSecretContext {
  readonly watches: FolderWatches;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Files that belong together are replaced one after the other: they are wrong only if they still are after this long. */
const GRACE_MS = 1000;
/** Until a file has been left alone for this long, its times do not tell whether it was written to once more. */
const SETTLED_MS = 2000;
/** What anybody but the owner and the group's reading is. */
const OPEN_TO_OTHERS = 0o037;

/**
 * What one file holds, or several that belong together: the newest that was right. Wrong and missing files keep the last
 * good value, with one warning for each content that stays wrong.
 */
export class FileSecret<T> implements Disposable {
  readonly value = new Watchable<T | undefined>(undefined);
  readonly #options: FileSecretOptions<T>;
  readonly #context: FileSecretContext;
  readonly #unwatch: readonly (() => void)[];
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  /** Of the files, when they were read and no look can have missed a change. */
  #state: string | undefined;
  #digest: string | undefined;
  /** Content that was wrong is not parsed at each look. */
  #wrong: { readonly digest: string; readonly error: unknown } | undefined;
  #fault: { readonly key: string; readonly since: number; isTold: boolean } | undefined;
  readonly #toldOpen = new Set<string>();
  #toldEnd: string | undefined;

  constructor(options: FileSecretOptions<T>, context: FileSecretContext) {
    this.#options = options;
    this.#context = context;
    const folders = new Set(options.files.map(({ path }) => dirname(path)));
    this.#unwatch = [...folders].map((folder) => context.watches.watch(folder, () => this.look()));
  }

  [Symbol.dispose](): void {
    for (const unwatch of this.#unwatch) unwatch();
  }

  /** Takes the files as they are now. `isFirst`: what is wrong is told at once. Never rejects. */
  async look(isFirst = false): Promise<void> {
    if (this.#looking !== undefined) {
      this.#lookAgain = true;
      return await this.#looking;
    }
    this.#looking = this.#lookUntilDone(isFirst);
    await this.#looking;
  }

  async #lookUntilDone(isFirst: boolean): Promise<void> {
    do {
      this.#lookAgain = false;
      await this.#lookOnce(isFirst);
      this.#tellEnd();
    } while (this.#lookAgain);
    this.#looking = undefined;
  }

  async #lookOnce(isFirst: boolean): Promise<void> {
    const state = await this.#currentState();
    if (state !== undefined && state === this.#state) return;
    this.#state = undefined;
    let digest = '';
    try {
      const files = [];
      for (const file of this.#options.files) files.push(await this.#read(file));
      digest = hash('sha256', files.map((bytes) => `${bytes.length}:${hash('sha256', bytes)}`).join());
      if (digest !== this.#digest) {
        this.value.set(this.#parse(files, digest));
        if (this.#digest !== undefined) this.#context.logger.info(this.#fields(), 'secret replaced');
        this.#digest = digest;
      }
      this.#fault = undefined;
      this.#state = state;
    } catch (error) {
      this.#failed(SvidgateError.from(error), digest, isFirst);
    }
  }

  #parse(files: readonly Uint8Array[], digest: string): T {
    if (this.#wrong?.digest === digest) throw this.#wrong.error;
    try {
      return this.#options.parse(files);
    } catch (error) {
      this.#wrong = { digest, error };
      throw error;
    }
  }

  /** Undefined unless all files are there and settled. */
  async #currentState(): Promise<string | undefined> {
    const settledAt = BigInt(Math.floor(this.#context.clock.now() - SETTLED_MS)) * 1_000_000n;
    const states = [];
    for (const { path } of this.#options.files) {
      const found = await lstat(path, { bigint: true }).catch(() => undefined);
      if (found === undefined || found.ctimeNs > settledAt) return undefined;
      states.push(`${found.dev}:${found.ino}:${found.ctimeNs}:${found.mtimeNs}:${found.size}`);
    }
    return states.join();
  }

  async #read(file: SecretFile): Promise<Buffer> {
    const { bytes, mode } = await readBeneath(file, this.#context.dataDir);
    const isOpen = file.isPrivate && (mode & OPEN_TO_OTHERS) !== 0;
    if (!isOpen) this.#toldOpen.delete(file.path);
    else if (!this.#toldOpen.has(file.path)) {
      this.#toldOpen.add(file.path);
      this.#context.logger.warn({ file: file.path, reason: 'chmod 600 it' }, 'others may read or change a secret file');
    }
    return bytes;
  }

  #failed(error: SvidgateError, digest: string, isFirst: boolean): void {
    const { clock, logger, metrics } = this.#context;
    const key = `${digest} ${error.message}`;
    const now = clock.now();
    if (this.#fault?.key !== key) this.#fault = { key, since: now, isTold: false };
    const isOver = isFirst || Math.abs(now - this.#fault.since) >= GRACE_MS;
    if (this.#fault.isTold || !isOver) return;
    this.#fault.isTold = true;
    metrics.count('svidgate_secret_reload_failures_total', {});
    const outcome = this.#digest === undefined ? 'there is none yet' : 'the last good one stays';
    const fields = { ...this.#fields(), error_code: error.code, reason: error.message };
    logger.warn(fields, `secret cannot be taken from its files, ${outcome}`);
  }

  #tellEnd(): void {
    const { value } = this.value;
    const end = value === undefined ? undefined : this.#options.endOf?.(value);
    if (end === undefined || end > this.#context.clock.now() || this.#toldEnd === this.#digest) return;
    this.#toldEnd = this.#digest;
    const fields = { ...this.#fields(), expires_at: new Date(end).toISOString() };
    this.#context.logger.warn(fields, 'certificate has ended and is still served');
  }

  #fields(): { readonly file: string } {
    return { file: this.#options.files.map(({ path }) => path).join(' ') };
  }
}
