/** One measured number. */
export interface Figure {
  /** snake_case with its unit, such as `check_p99_ms_at_16`. */
  readonly name: string;
  readonly value: number;
  /** What was measured, in a few words. */
  readonly meaning: string;
}

/** What a figure should reach. */
export interface AimedAt {
  /** Of the figure. */
  readonly name: string;
  readonly bound: 'at most' | 'at least';
  readonly aim: number;
}

/** An aim, and whether it was reached. */
export interface Aim extends AimedAt {
  readonly figure: number;
  readonly met: boolean;
}

/** `full` gives figures; `quick` runs the same code with tiny counts, to see that it works. */
export type Size = 'full' | 'quick';

export interface BenchmarkContext {
  readonly size: Size;
  /** Says on standard error what is being done. */
  readonly progress: (what: string) => void;
}

export interface Benchmark {
  readonly name: string;
  /** One line for the list. */
  readonly summary: string;
  /** How it was measured, and beside what: a paragraph for the document. */
  readonly method: string;
  /** In the order of the document. */
  readonly aims?: readonly AimedAt[];
  /** What stands behind the figures, such as where the time goes: paragraphs for the document. */
  readonly notes?: string;
  /** Ends by itself in less than five minutes on an idle machine. Rejects when an answer was not the right one, since a number then says nothing. */
  run(context: BenchmarkContext): Promise<readonly Figure[]>;
}

/** What one run gives, and what bench/results/ keeps. */
export interface Result {
  readonly bench: string;
  /** One line: processor, cores, load, versions. */
  readonly machine: string;
  readonly figures: Readonly<Record<string, number>>;
  readonly aims: readonly Aim[];
}
