import type { Clock, Logger, Metrics } from '../../core/index.ts';
import { LineBook, type LineStatus, type SavedLine } from './line-book.ts';

/** One process, also after a restart of svidgate. */
export interface BookedProcess {
  readonly pid: number;
  readonly uid: number;
  /** When it began, in clock ticks since the start of the machine. */
  readonly startTicks: number;
  /** Whether it began after svidgate: then nothing was counted before. */
  readonly isYounger: boolean;
}

export type OffloadedOutcome = 'allow' | 'deny';

/** What an Envoy tells at one moment. */
export interface ToldCounters {
  /** Epoch milliseconds, by its clock. */
  readonly at: number;
  /** Requests that it has begun and not ended; undefined where it does not tell. */
  readonly active: number | undefined;
  readonly counters: readonly {
    readonly policy: string;
    readonly outcome: OffloadedOutcome;
    readonly value: number;
  }[];
}

/** Of one Envoy: what it answered by itself, and which records of it there are. */
export interface EnvoyBook {
  /** What it calls itself; not proven. */
  name(text: string): void;
  receive(policy: string, outcome: OffloadedOutcome, at: number): void;
  count(told: ToldCounters): void;
}

/** Of one policy; `pid` absent: of Envoys that have ended. */
export interface OffloadEvidence extends LineStatus {
  readonly pid?: number;
  readonly uid?: number;
  readonly name: string;
  readonly policy: string;
  readonly outcome: OffloadedOutcome;
}

/** As they are kept in a file. */
export interface SavedBooks {
  readonly version: 1;
  readonly processes: readonly SavedProcess[];
}

interface SavedProcess {
  readonly pid: number;
  readonly startTicks: number;
  readonly lines: Readonly<Record<string, SavedLine>>;
}

export interface OffloadBooksOptions {
  readonly saved?: SavedBooks | undefined;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const MAX_PROCESSES = 1000;
const MAX_PROCESSES_OF_USER = 500;
/** Of one process: whoever may ask for a policy is known, so these are few. */
const MAX_LINES = 200;
const MAX_NAME = 256;
const WARN_EVERY_MS = 60_000;

/** The books of all Envoys that log what they answered by themselves. */
export class OffloadBooks {
  readonly #options: OffloadBooksOptions;
  readonly #books = new Map<string, ProcessBook>();
  readonly #saved: Map<string, SavedProcess>;
  readonly #ended = new Map<string, Totals>();
  #changes = 0;

  constructor(options: OffloadBooksOptions) {
    this.#options = options;
    this.#saved = new Map((options.saved?.processes ?? []).map((process) => [keyOf(process), process]));
  }

  /** Grows whenever something was booked. */
  get changes(): number {
    return this.#changes;
  }

  /** The book of a process: the same for all of its streams. Undefined when there are too many. */
  of(process: BookedProcess): EnvoyBook | undefined {
    const key = keyOf(process);
    const known = this.#books.get(key);
    if (known !== undefined) return known;
    if (this.#books.size >= MAX_PROCESSES || this.#countOf(process.uid) >= MAX_PROCESSES_OF_USER) return undefined;
    const book = new ProcessBook(process, this.#saved.get(key), {
      ...this.#options,
      onChange: () => (this.#changes += 1),
      tell: (policy) => this.#tell(policy),
    });
    this.#saved.delete(key);
    this.#books.set(key, book);
    return book;
  }

  /** Closes the books of processes that are gone, the second time that they are: what they sent last may be on its way. */
  sweep(isAlive: (process: Pick<BookedProcess, 'pid' | 'startTicks'>) => boolean): void {
    for (const [key, book] of this.#books) {
      if (isAlive(book.process)) book.missed = 0;
      else if ((book.missed += 1) > 1) this.#close(key, book);
    }
  }

  status(): readonly OffloadEvidence[] {
    const living = [...this.#books.values()].flatMap((book) => book.status());
    const ended = [...this.#ended.values()].filter(({ counted, received }) => (counted ?? 0) + received > 0);
    return [...living, ...ended.map((totals) => ({ ...totals, name: '' }))];
  }

  /** What a restart of svidgate has to know: the counters of Envoys go on meanwhile. */
  save(): SavedBooks {
    return { version: 1, processes: [...this.#books.values()].map((book) => book.saved()) };
  }

  #countOf(uid: number): number {
    return [...this.#books.values()].filter(({ process }) => process.uid === uid).length;
  }

  #close(key: string, book: ProcessBook): void {
    this.#books.delete(key);
    this.#changes += 1;
    for (const { policy, outcome, ...status } of book.end()) {
      const line = `${policy} ${outcome}`;
      const before = this.#ended.get(line) ?? { policy, outcome, received: 0, counted: undefined, lost: undefined };
      this.#ended.set(line, {
        policy,
        outcome,
        received: before.received + status.received,
        counted: sum(before.counted, status.counted),
        lost: sum(before.lost, status.lost),
      });
      this.#tell(policy);
    }
  }

  #tell(policy: string): void {
    const own = this.status().filter((line) => line.policy === policy);
    const total = (of: (line: OffloadEvidence) => number | undefined): number =>
      own.reduce((all, line) => all + (of(line) ?? 0), 0);
    this.#options.metrics.gauge(
      'svidgate_offload_answered',
      { policy },
      total(({ counted }) => counted),
    );
    this.#options.metrics.gauge(
      'svidgate_offload_records_lost',
      { policy },
      total(({ lost }) => lost),
    );
  }
}

interface Totals extends LineStatus {
  readonly policy: string;
  readonly outcome: OffloadedOutcome;
}

interface ProcessContext extends OffloadBooksOptions {
  readonly onChange: () => void;
  readonly tell: (policy: string) => void;
}

interface Line {
  readonly policy: string;
  readonly outcome: OffloadedOutcome;
  readonly book: LineBook;
}

class ProcessBook implements EnvoyBook {
  readonly process: BookedProcess;
  /** How often it was looked for in vain, last. */
  missed = 0;
  readonly #context: ProcessContext;
  readonly #lines = new Map<string, Line>();
  #name = '';
  /** Whether counters that were not there before begin at nothing. */
  #isWhole: boolean;
  #warnedAt = 0;
  #warnedOf = 0;

  constructor(process: BookedProcess, saved: SavedProcess | undefined, context: ProcessContext) {
    this.process = process;
    this.#context = context;
    this.#isWhole = process.isYounger || saved !== undefined;
    for (const [key, line] of Object.entries(saved?.lines ?? {})) {
      const [policy = '', outcome] = key.split(' ');
      if (outcome === 'allow' || outcome === 'deny')
        this.#lines.set(key, { policy, outcome, book: new LineBook(line) });
    }
  }

  name(text: string): void {
    if (text !== '') this.#name = text.slice(0, MAX_NAME);
  }

  receive(policy: string, outcome: OffloadedOutcome, at: number): void {
    this.#line(policy, outcome)?.receive(at === 0 ? this.#context.clock.now() : at);
    this.#context.onChange();
  }

  count({ at, active, counters }: ToldCounters): void {
    const policies = new Set<string>();
    for (const { policy, outcome, value } of counters) {
      policies.add(policy);
      this.#line(policy, outcome)?.count({ value, at, active }, this.#isWhole);
    }
    this.#isWhole = true;
    if (counters.length > 0) this.#context.onChange();
    for (const policy of policies) this.#context.tell(policy);
    this.#warn();
  }

  status(): readonly OffloadEvidence[] {
    const { pid, uid } = this.process;
    const now = this.#context.clock.now();
    return this.#all((book) => book.status(now)).map((line) => ({ pid, uid, name: this.#name, ...line }));
  }

  end(): readonly Totals[] {
    return this.#all((book) => book.end());
  }

  saved(): SavedProcess {
    const { pid, startTicks } = this.process;
    return { pid, startTicks, lines: Object.fromEntries([...this.#lines].map(([key, { book }]) => [key, book.saved])) };
  }

  #all(of: (book: LineBook) => LineStatus): readonly Totals[] {
    return [...this.#lines.values()].map(({ policy, outcome, book }) => ({ policy, outcome, ...of(book) }));
  }

  #line(policy: string, outcome: OffloadedOutcome): LineBook | undefined {
    const key = `${policy} ${outcome}`;
    const known = this.#lines.get(key);
    if (known !== undefined || this.#lines.size >= MAX_LINES) return known?.book;
    const book = new LineBook();
    this.#lines.set(key, { policy, outcome, book });
    return book;
  }

  /** When more were lost than was said. */
  #warn(): void {
    const now = this.#context.clock.now();
    if (now - this.#warnedAt < WARN_EVERY_MS) return;
    const lost = this.status().reduce((all, line) => all + (line.lost ?? 0), 0);
    if (lost <= this.#warnedOf) return;
    this.#warnedAt = now;
    this.#warnedOf = lost;
    const { pid: caller_pid, uid: caller_uid } = this.process;
    const fields = { caller_pid, caller_uid, node_id: this.#name, count: lost };
    this.#context.logger.warn(fields, 'records of requests that envoy answered by itself are missing');
  }
}

function keyOf({ pid, startTicks }: Pick<BookedProcess, 'pid' | 'startTicks'>): string {
  return `${pid} ${startTicks}`;
}

function sum(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined && other === undefined ? undefined : (one ?? 0) + (other ?? 0);
}
