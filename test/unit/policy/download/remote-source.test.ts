/** A source that is followed: when it is asked, what counts, and what is said of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PartReader } from '../../../../src/policy/download/part-reader.ts';
import { waitUntil } from '../../../support/wait-until.ts';
import { after, POLL_MS, readerOf, settled, stages, type Given, type Script } from './follow-stage.ts';

const { follow } = stages();

describe('while it is followed', () => {
  test('what comes is read, and asked for again by its tag after the interval', async () => {
    const stage = follow({ first: { text: 'one', etag: '1' } });
    await settled(stage, 1);
    stage.place.next = 'unchanged';
    await after(stage, POLL_MS, 2);
    stage.place.next = { text: 'two', etag: '2' };
    await after(stage, POLL_MS, 3);
    assert.deepEqual([...new Set(stage.seen)], ['one', 'two']);
    const start = stage.place.asked[0]?.at ?? 0;
    assert.deepEqual(
      stage.place.asked.map(({ etag, takesDelta, waitMs, at }) => [etag, takesDelta, waitMs, at - start]),
      [
        [undefined, false, 0, 0],
        ['1', true, 0, POLL_MS],
        ['1', true, 0, 2 * POLL_MS],
      ],
    );
    const { lastContactAt, lastChangeAt, ...rest } = stage.source.status.value;
    assert.deepEqual(rest, { kind: 'http', description: 'https://bundles.test/b', fromDisk: false });
    assert.deepEqual([lastContactAt, lastChangeAt], [start + 2 * POLL_MS, start + 2 * POLL_MS]);
    assert.equal(stage.metrics.get('svidgate_policy_source_contact_seconds'), (start + 2 * POLL_MS) / 1000);
    assert.equal(stage.metrics.get('svidgate_policy_source_polls_total default changed'), 2);
    assert.equal(stage.metrics.get('svidgate_policy_source_polls_total default unchanged'), 1);
  });

  test('while it is away the last one stays, and it is asked more and more slowly', async () => {
    const stage = follow({ first: { text: 'one', etag: '1' } });
    await settled(stage, 1);
    stage.place.next = 'away';
    await after(stage, POLL_MS, 2);
    for (let question = 3; question <= 12; question += 1) await after(stage, POLL_MS, question);
    assert.deepEqual([...new Set(stage.seen)], ['one']);
    const gaps = stage.place.asked.slice(1).map(({ at }, index) => at - (stage.place.asked[index]?.at ?? 0));
    assert.deepEqual(gaps.slice(1, 8), [750, 1500, 3000, 6000, 12_000, 24_000, 45_000]);
    assert.equal(stage.source.status.value.lastError, 'it is away');
    assert.equal(stage.source.status.value.lastContactAt, stage.place.asked[0]?.at);
    const told = stage.lines.filter(({ message }) => message.includes('gives no bundle'));
    assert.equal(told.length, 1);
    stage.place.next = 'unchanged';
    const { length } = stage.place.asked;
    await after(stage, POLL_MS, length + 1);
    assert.equal(stage.source.status.value.lastError, undefined);
    assert.ok(stage.lines.some(({ message }) => message === 'source of the policy gives good answers again'));
  });

  test('what is refused leaves the last one, is said, and is asked for as a whole until it is mended', async () => {
    const stage = follow({ first: { text: 'one', etag: '1' } });
    await settled(stage, 1);
    stage.place.next = { text: 'bad one', etag: '2' };
    await after(stage, POLL_MS, 3);
    assert.equal(stage.seen.at(-1), '! bad one is no bundle');
    assert.equal(stage.source.status.value.lastError, 'bad one is no bundle');
    // The second question was whether it is a change of something else.
    const [, second, third] = stage.place.asked;
    assert.deepEqual([second?.etag, second?.takesDelta], ['1', true]);
    assert.deepEqual([third?.etag, third?.takesDelta], [undefined, false]);
    stage.place.next = 'unchanged';
    await after(stage, 1000, 4);
    assert.deepEqual([stage.place.asked[3]?.etag, stage.place.asked[3]?.takesDelta], ['1', false]);
    assert.equal(stage.seen.at(-1), 'one');
    assert.equal(stage.source.status.value.lastError, undefined);
  });

  test('what was refused is not read again, but by other keys', async () => {
    const plain = readerOf();
    let key = '1';
    let reads = 0;
    const reader: PartReader = {
      verifies: true,
      signers: () => Promise.resolve([{ name: 'a', verifiedBy: key }]),
      read(bytes, options) {
        reads += 1;
        return plain.read(bytes, options);
      },
    };
    const stage = follow({ first: { text: 'one', etag: '1' }, reader });
    await settled(stage, 1);
    stage.place.next = { text: 'bad one', etag: '2' };
    for (let questions = 2; questions <= 4; questions += 1) await after(stage, 10 * POLL_MS, questions);
    assert.equal(reads, 2);
    assert.equal(stage.seen.at(-1), '! bad one is no bundle');
    assert.ok((stage.metrics.get('svidgate_policy_source_polls_total default refused') ?? 0) >= 3);
    key = '2';
    await after(stage, 10 * POLL_MS, 5);
    assert.equal(reads, 3);
    stage.place.next = { text: 'two', etag: '3' };
    await after(stage, 10 * POLL_MS, 6);
    assert.equal(stage.seen.at(-1), 'two');
  });

  test('without a tag the same bytes are no news', async () => {
    const stage = follow({ first: { text: 'one' } });
    await settled(stage, 1);
    await after(stage, POLL_MS, 2);
    assert.equal(stage.metrics.get('svidgate_policy_source_polls_total default unchanged'), 1);
    stage.place.next = { text: 'other', etag: '1' };
    await after(stage, POLL_MS, 3);
    // The same tag for something else: what is sent counts.
    stage.place.next = { text: 'third', etag: '1' };
    await after(stage, POLL_MS, 4);
    assert.deepEqual([...new Set(stage.seen)], ['one', 'other', 'third']);
  });
});

describe('changes of what is there', () => {
  test('are made to what their tag names, and their tag is the next one', async () => {
    const stage = follow({ first: { text: 'a', etag: '1' } });
    await settled(stage, 1);
    stage.place.next = { text: 'a+b', etag: '2' };
    await after(stage, POLL_MS, 2);
    stage.place.next = { text: '+c', etag: '3' };
    await after(stage, POLL_MS, 3);
    stage.place.next = 'unchanged';
    await after(stage, POLL_MS, 4);
    assert.deepEqual([...new Set(stage.seen)], ['a', 'ab', 'abc']);
    assert.deepEqual(
      stage.place.asked.map(({ etag }) => etag),
      [undefined, '1', '2', '3'],
    );
  });

  test('to something else have the whole asked for at once', async () => {
    const stage = follow({ first: { text: 'a', etag: '1' } });
    await settled(stage, 1);
    const { place } = stage;
    const answers: Script[] = [
      { text: 'x+b', etag: '2' },
      { text: 'ab', etag: '2' },
    ];
    place.beforeAnswer = () => void (place.next = answers.shift() ?? 'unchanged');
    await after(stage, POLL_MS, 3);
    assert.equal(stage.seen.at(-1), 'ab');
    assert.deepEqual(
      [place.asked[2]?.etag, place.asked[2]?.takesDelta, place.asked[2]?.at],
      [undefined, false, place.asked[1]?.at],
    );
  });

  test('are not taken by who needs a signature', async () => {
    const stage = follow({ first: { text: 'a', etag: '1' }, reader: readerOf({ verifies: true }) });
    await settled(stage, 1);
    await after(stage, POLL_MS, 2);
    assert.deepEqual(
      stage.place.asked.map(({ takesDelta }) => takesDelta),
      [false, false],
    );
  });

  test('are kept on disk as they came, and made again at the start', async () => {
    const stage = follow({ first: { text: 'a', etag: '1' } });
    await settled(stage, 1);
    for (let part = 0; part < 3; part += 1) {
      stage.place.next = { text: `+${part}`, etag: `d${part}` };
      await after(stage, POLL_MS, 2 + part);
    }
    await stage[Symbol.asyncDispose]();
    const again = follow({ first: 'away' });
    await settled(again, 1);
    assert.equal(again.seen[0], 'a012');
    assert.equal(again.place.asked[0]?.etag, 'd2');
  });

  test('do not make a chain without end', async () => {
    const stage = follow({ first: { text: 'a', etag: '0' } });
    await settled(stage, 1);
    for (let part = 1; part < 32; part += 1) {
      stage.place.next = { text: '+b', etag: String(part) };
      await after(stage, POLL_MS, 1 + part);
    }
    stage.place.next = { text: 'whole', etag: 'w' };
    await after(stage, POLL_MS, 33);
    assert.deepEqual(
      stage.place.asked.slice(-2).map(({ takesDelta }) => takesDelta),
      [true, false],
    );
    stage.place.next = 'unchanged';
    await after(stage, POLL_MS, 34);
    assert.equal(stage.place.asked.at(-1)?.takesDelta, true);
  });
});

describe('long polling', () => {
  const WAIT_MS = 30_000;
  const TWO = { text: 'two', etag: '2' } as const;

  test('begins once the place has said that it can wait; who has waited is asked again at once', async () => {
    const stage = follow({ first: { text: 'one', etag: '1', canWait: true }, longPollMs: WAIT_MS });
    const { clock, place } = stage;
    await settled(stage, 1);
    let waiting = Promise.withResolvers<Given>();
    place.next = waiting.promise;
    const asked = (count: number): Promise<boolean> =>
      waitUntil(`question ${count}`, 5000, async () => {
        await clock.advance(0);
        return place.asked.length === count;
      });
    await clock.advance(1000);
    await asked(2);
    await clock.advance(WAIT_MS);
    const first = waiting;
    waiting = Promise.withResolvers<Given>();
    place.next = waiting.promise;
    first.resolve('unchanged');
    await asked(3);
    assert.equal(place.asked[2]?.at, clock.now());
    // News come early.
    await clock.advance(5000);
    place.next = { ...TWO, canWait: false };
    waiting.resolve({ ...TWO, canWait: false });
    await waitUntil('the news', 5000, async () => {
      await clock.advance(0);
      return stage.seen.at(-1) === 'two';
    });
    // It cannot wait any more, so that it is asked by the interval.
    await settled(stage, 3);
    await after(stage, POLL_MS, 4);
    assert.deepEqual(
      place.asked.map(({ waitMs }) => waitMs),
      [0, WAIT_MS, WAIT_MS, 0],
    );
  });

  test('that is cut is followed by a question that does not wait', async () => {
    const stage = follow({ first: { text: 'one', etag: '1', canWait: true }, longPollMs: WAIT_MS });
    await settled(stage, 1);
    stage.place.next = 'away';
    await after(stage, 1000, 2);
    stage.place.next = 'unchanged';
    await after(stage, 1000, 3);
    await after(stage, 1000, 4);
    assert.deepEqual(
      stage.place.asked.map(({ waitMs }) => waitMs),
      [0, WAIT_MS, 0, WAIT_MS],
    );
    assert.equal(stage.source.status.value.lastError, undefined);
  });
});
