import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LineBook } from '../../../../src/evidence/offloaded/line-book.ts';

const T = 1_795_383_418_000;
/** By then what was told at T counts. */
const LATER = T + 10_000;

function bookOf(received: readonly number[]): LineBook {
  const book = new LineBook();
  for (const at of received) book.receive(at);
  return book;
}

interface Told {
  readonly value: number;
  readonly at?: number;
  readonly active?: number | undefined;
  readonly stat?: string;
}

function tell(book: LineBook, { value, at = T, active, stat = 'in' }: Told, isWhole = true): void {
  book.count({ stat, value, at, isWhole });
  if (active !== undefined) book.countActive(at, active);
}

const before = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => T - 1000 + index);

describe('records of one Envoy', () => {
  const CASES: readonly {
    readonly name: string;
    readonly received: readonly number[];
    readonly told: readonly Told[];
    readonly isWhole?: boolean;
    readonly expected: { readonly counted: number | undefined; readonly lost: number | undefined };
  }[] = [
    {
      name: 'all there',
      received: before(100),
      told: [{ value: 100, active: 0 }],
      expected: { counted: 100, lost: 0 },
    },
    {
      name: 'some are missing',
      received: before(90),
      told: [{ value: 100, active: 0 }],
      expected: { counted: 100, lost: 10 },
    },
    {
      name: 'some may still be answered',
      received: before(90),
      told: [{ value: 100, active: 7 }],
      expected: { counted: 100, lost: 3 },
    },
    {
      name: 'more came after it was told',
      received: [...before(90), ...Array<number>(50).fill(T + 500)],
      told: [{ value: 100, active: 0 }],
      expected: { counted: 100, lost: 10 },
    },
    {
      name: 'what came in the same moment is no loss',
      received: [...before(100), T + 1],
      told: [{ value: 100, active: 0 }],
      expected: { counted: 100, lost: 0 },
    },
    {
      name: 'nobody tells what is being answered',
      received: before(90),
      told: [{ value: 100, active: undefined }],
      expected: { counted: 100, lost: undefined },
    },
    { name: 'nobody tells anything', received: before(3), told: [], expected: { counted: undefined, lost: undefined } },
    {
      name: 'just told: it may be on its way',
      received: before(90),
      told: [{ value: 100, at: LATER - 1000, active: 0 }],
      expected: { counted: 100, lost: undefined },
    },
    {
      name: 'counted before the book was opened',
      received: before(10),
      told: [
        { value: 500, active: 0 },
        { value: 503, at: T + 100, active: 0 },
      ],
      isWhole: false,
      expected: { counted: 13, lost: 3 },
    },
    {
      name: 'a counter that is reset goes on',
      received: before(100),
      told: [
        { value: 80, at: T - 5000, active: 0 },
        { value: 25, active: 0 },
      ],
      expected: { counted: 105, lost: 5 },
    },
    {
      name: 'a listener that is gone is no reset of the others',
      received: before(100),
      told: [
        { stat: 'in', value: 60, at: T - 5000, active: 0 },
        { stat: 'out', value: 40, at: T - 5000, active: 0 },
        { stat: 'in', value: 62, active: 0 },
      ],
      expected: { counted: 102, lost: 2 },
    },
    {
      name: 'what is being answered is told after the counters, in messages of their own',
      received: before(90),
      told: [
        { stat: 'in', value: 60 },
        { stat: 'out', value: 40, active: 4 },
      ],
      expected: { counted: 100, lost: 6 },
    },
  ];
  for (const { name, received, told, isWhole = true, expected } of CASES) {
    it(name, () => {
      const book = bookOf(received);
      for (const each of told) tell(book, each, isWhole);
      assert.deepEqual(book.status(LATER), { received: received.length, ...expected });
    });
  }

  it('that come late after all are no loss any more', () => {
    const book = bookOf(before(90));
    tell(book, { value: 100, at: T, active: 0 });
    assert.equal(book.status(LATER).lost, 10);
    for (let count = 0; count < 10; count += 1) book.receive(T - 10);
    assert.equal(book.status(LATER).lost, 0);
  });

  it('are lost when it ends and they have not come', () => {
    const book = bookOf(before(90));
    tell(book, { value: 100, at: T, active: 10 });
    assert.deepEqual(book.end(), { received: 90, counted: 100, lost: 10 });
  });

  it('go on in a book that was kept', () => {
    const book = bookOf(before(90));
    tell(book, { value: 100, at: T - 100, active: 0 });
    const kept = new LineBook(JSON.parse(JSON.stringify(book.saved)) as LineBook['saved']);
    kept.receive(T - 1);
    tell(kept, { value: 120, at: T, active: 0 });
    assert.deepEqual(kept.status(LATER), { received: 91, counted: 120, lost: 29 });
  });

  it('take no more room for hours of them', () => {
    const book = new LineBook();
    for (let count = 0; count < 20_000; count += 1) book.receive(T + count * 100);
    tell(book, { value: 20_001, at: T + 2_000_000, active: 0 });
    assert.equal(book.status(T + 2_100_000).lost, 1);
  });
});
