import { open } from 'node:fs/promises';

/** What stands in the log of the server. */
export interface LogSummary {
  readonly bytes: number;
  readonly lines: number;
  /** By message. */
  readonly counts: ReadonlyMap<string, number>;
  /** Lines that are warnings or worse, by message, with an example. */
  readonly warnings: ReadonlyMap<string, { readonly count: number; readonly example: string }>;
}

export async function readLog(file: string): Promise<LogSummary> {
  const counts = new Map<string, number>();
  const warnings = new Map<string, { count: number; example: string }>();
  let [bytes, lines] = [0, 0];
  await using handle = await open(file);
  for await (const line of handle.readLines()) {
    bytes += Buffer.byteLength(line) + 1;
    lines += 1;
    const { level, msg } = parsed(line);
    counts.set(msg, (counts.get(msg) ?? 0) + 1);
    if (level === 'info' || level === 'debug') continue;
    const seen = warnings.get(msg);
    if (seen === undefined) warnings.set(msg, { count: 1, example: line.slice(0, 500) });
    else seen.count += 1;
  }
  return { bytes, lines, counts, warnings };
}

/** What is no line of the logger is as bad as a warning. */
function parsed(line: string): { readonly level: string; readonly msg: string } {
  try {
    const { level, msg } = JSON.parse(line) as { readonly level: string; readonly msg: string };
    return { level, msg };
  } catch {
    return { level: 'none', msg: line.slice(0, 100) };
  }
}
