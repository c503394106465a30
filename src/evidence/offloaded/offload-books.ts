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
  /** Requests that it has begun and not ended, of some of its listeners; undefined where it does not tell, or in another message. */
  readonly active: number | undefined;
  readonly counters: readonly {
    /** Its name with Envoy. */
    readonly stat: string;
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
  readonly version: 2;
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
/** By then an Envoy has told all counters that it had when it began to tell. */
const FIRST_ROUND_MS = 900;

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
    });
    this.#saved.delete(key);
    this.#books.set(key, book);
    return book;
  }

  /**
   * To be called about once a second: sums up, and closes the books of processes that are gone, the second time that they are:
   * what they sent last may be on its way.
   */
  sweep(isAlive: (process: Pick<BookedProcess, 'pid' | 'startTicks'>) => boolean): void {
    for (const [key, book] of this.#books) {
      if (isAlive(book.process)) book.missed = 0;
      else if ((book.missed += 1) > 1) this.#close(key, book);
    }
    this.#tell();
  }

  status(): readonly OffloadEvidence[] {
    const living = [...this.#books.values()].flatMap((book) => book.status());
    const ended = [...this.#ended.values()].filter(({ counted, received }) => (counted ?? 0) + received > 0);
    return [...living, ...ended.map((totals) => ({ ...totals, name: '' }))];
  }

  /** What a restart of svidgate has to know: the counters of Envoys go on meanwhile. */
  save(): SavedBooks {
    return { version: 2, processes: [...this.#books.values()].map((book) => book.saved()) };
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
    }
  }

  #tell(): void {
    const totals = new Map<string, { counted: number; lost: number }>();
    const add = (lines: readonly Totals[]): void => {
      for (const { policy, counted = 0, lost = 0 } of lines) {
        const total = totals.get(policy) ?? { counted: 0, lost: 0 };
        totals.set(policy, { counted: total.counted + counted, lost: total.lost + lost });
      }
    };
    add([...this.#ended.values()]);
    for (const book of this.#books.values()) {
      const lines = book.status();
      add(lines);
      book.warn(lines);
    }
    const { metrics } = this.#options;
    for (const [policy, { counted, lost }] of totals) {
      metrics.gauge('svidgate_offload_answered', { policy }, counted);
      metrics.gauge('svidgate_offload_records_lost', { policy }, lost);
    }
  }
}

interface Totals extends LineStatus {
  readonly policy: string;
  readonly outcome: OffloadedOutcome;
}

interface ProcessContext extends OffloadBooksOptions {
  readonly onChange: () => void;
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
  /** What was written to last. */
  #last: Line | undefined;
  #name = '';
  /** When counters began that are not there yet: those that were before have been told by then. */
  #wholeFrom: number;
  /** Requests that are being answered, by what it told at one moment, maybe in several messages. */
  #active: { readonly at: number; readonly value: number } | undefined;
  #warnedAt = 0;
  #warnedOf = 0;

  constructor(process: BookedProcess, saved: SavedProcess | undefined, context: ProcessContext) {
    this.process = process;
    this.#context = context;
    this.#wholeFrom = process.isYounger || saved !== undefined ? -Infinity : Infinity;
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
    for (const { stat, policy, outcome, value } of counters) {
      this.#line(policy, outcome)?.count({ stat, value, at, isWhole: at > this.#wholeFrom });
    }
    if (counters.length > 0 && this.#wholeFrom === Infinity) this.#wholeFrom = at + FIRST_ROUND_MS;
    if (active !== undefined) {
      this.#active = { at, value: active + (this.#active?.at === at ? this.#active.value : 0) };
    }
    if (this.#active?.at === at) for (const { book } of this.#lines.values()) book.countActive(at, this.#active.value);
    if (counters.length > 0) this.#context.onChange();
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
    if (this.#last?.policy === policy && this.#last.outcome === outcome) return this.#last.book;
    const key = `${policy} ${outcome}`;
    let line = this.#lines.get(key);
    if (line === undefined) {
      if (this.#lines.size >= MAX_LINES) return undefined;
      line = { policy, outcome, book: new LineBook() };
      this.#lines.set(key, line);
    }
    this.#last = line;
    return line.book;
  }

  /** When more were lost than was said. */
  warn(lines: readonly LineStatus[]): void {
    const now = this.#context.clock.now();
    if (now - this.#warnedAt < WARN_EVERY_MS) return;
    const lost = lines.reduce((all, line) => all + (line.lost ?? 0), 0);
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
