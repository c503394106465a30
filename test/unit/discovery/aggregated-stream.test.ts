import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { streamAggregated, type AggregatedLane } from '../../../src/discovery/aggregated-stream.ts';

/** A request is `type:text`; a lane answers each with `TYPE:text`, and its last word once its requests have ended. */
function laneOf(typeUrl: string, log: string[]): AggregatedLane {
  return {
    typeUrl,
    async *open(requests) {
      log.push(`${typeUrl} opens`);
      try {
        for await (const request of requests) {
          if (String(request) === `${typeUrl}:fail`) throw new Error(`${typeUrl} failed`);
          yield Buffer.from(String(request).toUpperCase());
        }
        yield Buffer.from(`${typeUrl} is done`);
      } finally {
        log.push(`${typeUrl} ends`);
      }
    },
  };
}

async function* given(...requests: readonly string[]): AsyncGenerator<Uint8Array, void, void> {
  for (const request of requests) yield Buffer.from(request);
}

const typeOf = (request: Uint8Array): string => String(request).split(':')[0] ?? '';

async function answersTo(log: string[], ...requests: readonly string[]): Promise<readonly string[]> {
  const lanes = [laneOf('a', log), laneOf('b', log), laneOf('c', log)];
  const answers: string[] = [];
  for await (const answer of streamAggregated(given(...requests), lanes, typeOf)) answers.push(String(answer));
  return answers;
}

test('each type answers its own requests, and all are answered before the stream ends', async () => {
  const log: string[] = [];
  const answers = await answersTo(log, 'a:1', 'b:1', 'a:2', 'b:2');
  assert.deepEqual(answers.toSorted(), ['A:1', 'A:2', 'B:1', 'B:2', 'a is done', 'b is done']);
  assert.ok(answers.indexOf('A:1') < answers.indexOf('A:2'));
  assert.deepEqual(log, ['a opens', 'b opens', 'a ends', 'b ends'], 'nobody asked for c');
});

test('a type that fails ends the stream and the others', async () => {
  const log: string[] = [];
  await assert.rejects(answersTo(log, 'a:1', 'b:fail', 'a:2'), /b failed/);
  assert.deepEqual(log.toSorted(), ['a ends', 'a opens', 'b ends', 'b opens']);
});

test('a type that nobody serves ends the stream', async () => {
  const log: string[] = [];
  await assert.rejects(answersTo(log, 'a:1', 'x:1'), {
    code: 'invalid_request',
    message: 'type_url must be a or b or c',
  });
  assert.deepEqual(log, ['a opens', 'a ends']);
});

test('while an answer is not read, no further ones are made', async () => {
  let made = 0;
  const busy: AggregatedLane = {
    typeUrl: 'a',
    async *open() {
      for (;;) yield Buffer.from(String((made += 1)));
    },
  };
  const stream = streamAggregated(given('a:1'), [busy], typeOf);
  assert.equal(String((await stream.next()).value), '1');
  for (let turn = 0; turn < 10; turn += 1) await nextTurn();
  assert.equal(made, 1);
  assert.equal(String((await stream.next()).value), '2');
  await stream.return();
  assert.ok(made <= 3);
});

test('whoever goes away ends all types, also those that wait for requests', async () => {
  const log: string[] = [];
  let goOn: (() => void) | undefined;
  async function* patient(): AsyncGenerator<Uint8Array, void, void> {
    yield Buffer.from('a:1');
    yield Buffer.from('b:1');
    await new Promise<void>((resolve) => (goOn = resolve));
  }
  const stream = streamAggregated(patient(), [laneOf('a', log), laneOf('b', log)], typeOf);
  await stream.next();
  await stream.next();
  await stream.return();
  assert.deepEqual(log.toSorted(), ['a ends', 'a opens', 'b ends', 'b opens']);
  goOn?.();
});
