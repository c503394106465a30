/** What a check saw. */
export interface Outcome {
  readonly passed: boolean;
  readonly seen: string;
}

/** One row of the table. */
export interface Check {
  readonly name: string;
  readonly expected: string;
  /** The processes whose logs tell more when it fails. */
  readonly logs: readonly string[];
  readonly run: () => Promise<Outcome>;
}

export interface Table {
  readonly passed: number;
  readonly failed: number;
  /** All that was written. */
  readonly transcript: string;
  line(text?: string): void;
  /** Says what is being waited for: a line that the next one replaces, or on a pipe one line every ten seconds. */
  waitingFor(what: string): void;
  /** Runs a check and writes its row. An error is a failed row. Gives whether it passed. */
  check(check: Check): Promise<boolean>;
}

const NAME_WIDTH = 52;
const EXPECTED_WIDTH = 31;
const HEARTBEAT_MS = 10_000;

/** A table that is written as it grows. */
export function createTable(output: NodeJS.WriteStream): Table {
  const transcript: string[] = [];
  const counts = { passed: 0, failed: 0 };
  const waiting = createWaitingLine(output);
  const line = (text = ''): void => {
    waiting.clear();
    transcript.push(`${text}\n`);
    output.write(`${text}\n`);
  };
  return {
    get passed() {
      return counts.passed;
    },
    get failed() {
      return counts.failed;
    },
    get transcript() {
      return transcript.join('');
    },
    line,
    waitingFor: (what) => waiting.show(what),
    async check({ name, expected, run }) {
      waiting.show(name);
      const outcome = await outcomeOf(run);
      counts[outcome.passed ? 'passed' : 'failed'] += 1;
      line(formatRow(outcome.passed ? 'ok' : 'FAIL', { name, expected, seen: outcome.seen }));
      return outcome.passed;
    },
  };
}

/** The row above the rows. */
export function tableHead(): string {
  const head = formatRow('', { name: 'check', expected: 'expected', seen: 'seen' });
  return `${head}\n${'-'.repeat(NAME_WIDTH + EXPECTED_WIDTH + 30)}`;
}

function formatRow(
  mark: string,
  row: { readonly name: string; readonly expected: string; readonly seen: string },
): string {
  const columns = [mark.padEnd(4), row.name.padEnd(NAME_WIDTH), row.expected.padEnd(EXPECTED_WIDTH), row.seen];
  return columns.join(' ').trimEnd();
}

async function outcomeOf(run: Check['run']): Promise<Outcome> {
  try {
    return await run();
  } catch (error) {
    return { passed: false, seen: error instanceof Error ? error.message : String(error) };
  }
}

function createWaitingLine(output: NodeJS.WriteStream): { show(what: string): void; clear(): void } {
  let timer: NodeJS.Timeout | undefined;
  const clear = (): void => {
    clearInterval(timer);
    if (timer !== undefined && output.isTTY) output.write('\r\u001B[K');
    timer = undefined;
  };
  return {
    clear,
    show(what) {
      clear();
      const since = performance.now();
      const write = (): void => {
        const text = `  … ${what} (${Math.round((performance.now() - since) / 1000)} s)`;
        output.write(output.isTTY ? `\r\u001B[K${text}` : `${text}\n`);
      };
      if (output.isTTY) write();
      timer = setInterval(write, output.isTTY ? 500 : HEARTBEAT_MS);
      timer.unref();
    },
  };
}
