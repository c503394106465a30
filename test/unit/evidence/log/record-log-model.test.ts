/** The log and its readers against what they promise, through any order of writes, reads, restarts and crashes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { noMetrics, silentLogger } from '../../../../src/core/index.ts';
import { openRecordLog, type RecordLog } from '../../../../src/evidence/log/index.ts';
import { recordLine } from '../../../support/record-line.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { createTestClock } from '../../../support/test-clock.ts';

const MIB = 2 ** 20;
const SINKS = ['one', 'two'] as const;
const signal = new AbortController().signal;

type Step =
  | { readonly kind: 'append'; readonly count: number; readonly padding: number }
  | { readonly kind: 'read'; readonly sink: (typeof SINKS)[number]; readonly lines: number; readonly commit: number }
  | { readonly kind: 'restart' | 'crash' | 'lose' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('append' as const), count: fc.integer({ min: 1, max: 20 }), padding: fc.integer({ min: 0, max: 30_000 }) }) }, // prettier-ignore
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('read' as const), sink: fc.constantFrom(...SINKS), lines: fc.integer({ min: 1, max: 50 }), commit: fc.integer({ min: 0, max: 50 }) }) }, // prettier-ignore
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('restart' as const, 'crash' as const, 'lose' as const) }) },
);

class World {
  readonly #folder: string;
  readonly #opened: RecordLog[] = [];
  readonly #delivered = new Map<string, Set<number>>(SINKS.map((sink) => [sink, new Set()]));
  readonly #last = new Map<string, number>(SINKS.map((sink) => [sink, -1]));
  #log: RecordLog | undefined;
  #next = 0;
  #crashes = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async open(): Promise<void> {
    const parts = { clock: createTestClock(), logger: silentLogger, metrics: noMetrics };
    this.#log = await openRecordLog({ folder: this.#folder, maxBytes: MIB, segmentBytes: 100_000, ...parts });
    this.#opened.push(this.#log);
    for (const sink of SINKS) this.#log.cursor(sink);
  }

  async run(each: Step): Promise<void> {
    const log = this.#current;
    if (each.kind === 'append') {
      const lines = Array.from({ length: each.count }, () => recordLine(this.#next++, { padding: each.padding }));
      assert.equal(log.append(lines), 'written');
    } else if (each.kind === 'read') await this.#read(each.sink, each.lines, each.commit);
    else if (each.kind === 'lose') log.lose({ reason: 'queue', count: 1 });
    else {
      if (each.kind === 'restart') await log[Symbol.asyncDispose]();
      // Places that were not saved yet are those of before: what was read since comes again.
      else {
        this.#crashes += 1;
        for (const sink of SINKS) this.#last.set(sink, -1);
      }
      await this.open();
    }
  }

  /** Each record came to each reader, or is counted as lost for it. */
  async finish(): Promise<void> {
    for (const sink of SINKS) {
      while (this.#current.cursor(sink).behind > 0) await this.#read(sink, 100, 100);
      const { lost, behind } = this.#current.cursor(sink);
      assert.equal(behind, 0);
      const came = this.#delivered.get(sink)?.size ?? 0;
      assert.ok(came + lost >= this.#next, `${came} came, ${lost} are lost, ${this.#next} were written`);
      assert.ok(this.#crashes > 0 || came + lost === this.#next, 'nothing is counted twice');
    }
    for (const log of this.#opened) await log[Symbol.asyncDispose]();
  }

  get #current(): RecordLog {
    assert.ok(this.#log !== undefined);
    return this.#log;
  }

  async #read(sink: string, maxLines: number, commit: number): Promise<void> {
    const cursor = this.#current.cursor(sink);
    if (cursor.behind === 0) return;
    const lines = await cursor.read({ maxLines, maxBytes: 200_000, signal });
    const count = Math.min(commit, lines.length);
    let last = this.#last.get(sink) ?? -1;
    for (const { kind, bytes } of lines.slice(0, count)) {
      if (kind === 'loss') continue;
      const id = Number((JSON.parse(bytes.toString()) as { decision_id: string }).decision_id);
      assert.ok(id > last, `${id} comes after ${last}`);
      last = id;
      this.#delivered.get(sink)?.add(id);
    }
    this.#last.set(sink, last);
    cursor.commit(count);
  }
}

test('what is written comes to every reader in order, or is counted as lost for it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
      await using folder = await tempFolder();
      const world = new World(folder.path);
      await world.open();
      for (const each of steps) await world.run(each);
      await world.finish();
    }),
    { numRuns: 60 },
  );
});
