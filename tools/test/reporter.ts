/**
 * Node's own spec report; under SVIDGATE_NO_SKIP=1 a run in which a test was skipped or left for later has failed, and a
 * line before node's closing summary says which.
 */
import type { EventData } from 'node:test';
import { spec } from 'node:test/reporters';

type TestEvent = { type: string; data: unknown };

/** Reporter for `node --test --test-reporter`. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const noSkip = process.env['SVIDGATE_NO_SKIP'] === '1';
  const skipped: string[] = [];
  const reporter = new spec();
  const text: string[] = [];
  reporter.on('data', (chunk: Buffer | string) => text.push(chunk.toString()));
  let told = false;
  for await (const event of source) {
    if (noSkip) noteSkipped(event, skipped);
    if (!told && isSummary(event)) {
      told = true;
      if (skipped.length > 0) {
        process.exitCode = 1;
        yield `✖ skipped, which SVIDGATE_NO_SKIP=1 forbids:\n${skipped.map((line) => `    ${line}\n`).join('')}`;
      }
    }
    await new Promise<void>((resolve, reject) => {
      reporter.write(event, (error) => (error ? reject(error) : resolve()));
    });
    yield* text.splice(0);
  }
  reporter.end();
  await new Promise((resolve) => reporter.once('end', resolve));
  yield* text.splice(0);
}

function noteSkipped({ type, data }: TestEvent, skipped: string[]): void {
  if (type !== 'test:pass' && type !== 'test:fail') return;
  const { name, file, line, skip, todo } = data as EventData.TestPass;
  const why = skip ?? todo;
  if (why === undefined || why === false) return;
  skipped.push(`${name} (${file ?? '?'}:${line ?? '?'})${typeof why === 'string' && why !== '' ? `: ${why}` : ''}`);
}

/** The closing figures, the first of which is `tests N`, belong to no file. */
function isSummary({ type, data }: TestEvent): boolean {
  if (type !== 'test:diagnostic') return false;
  const { nesting, file, message } = data as EventData.TestDiagnostic;
  return nesting === 0 && file === undefined && message.startsWith('tests ');
}
