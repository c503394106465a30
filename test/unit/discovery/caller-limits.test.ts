import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noMetrics, type Metrics } from '../../../src/core/index.ts';
import { CallerLimits, type DiscoveryLimits } from '../../../src/discovery/caller-limits.ts';
import { parseSelector } from '../../../src/spiffe/index.ts';

const KIB = 1024;
const LIMITS: DiscoveryLimits = { streams: 3, namesPerStream: 10, requestsPerSecond: 5, requestBytesPerSecond: 1000 };
const selectors = (...texts: readonly string[]) => new Set(texts.map(parseSelector));
const ME = selectors('unix:uid:1');

interface Stage {
  readonly limits: CallerLimits;
  readonly refusals: string[];
  readonly sleep: (ms: number) => void;
}

function stage(limits: Partial<DiscoveryLimits> = {}): Stage {
  let now = 0;
  const refusals: string[] = [];
  const metrics: Metrics = { ...noMetrics, count: (_name, labels) => void refusals.push(Object.values(labels).join()) };
  return {
    limits: new CallerLimits({ limits: { ...LIMITS, ...limits }, metrics, now: () => now }),
    refusals,
    sleep: (ms) => (now += ms),
  };
}

/** How often it can be done until it is refused. */
function times(act: () => unknown): number {
  for (let count = 0; count < 1000; count += 1) {
    try {
      act();
    } catch (error) {
      assert.equal((error as { readonly code?: string }).code, 'overloaded');
      return count;
    }
  }
  return Infinity;
}

test('a caller has so many streams at once, wherever it opens them', () => {
  const { limits, refusals } = stage();
  const open = [limits.allowance(ME), limits.allowance(selectors('unix:uid:1')), limits.allowance(ME)].map((one) =>
    one.openStream(),
  );
  assert.throws(() => limits.allowance(ME).openStream(), { code: 'overloaded', message: 'more than 3 open streams' });
  assert.equal(
    times(() => limits.allowance(selectors('unix:uid:2')).openStream()),
    3,
  );
  open[0]?.[Symbol.dispose]();
  open[0]?.[Symbol.dispose]();
  assert.equal(
    times(() => limits.allowance(ME).openStream()),
    1,
  );
  assert.deepEqual(refusals, ['streams', 'streams', 'streams']);
});

test('the order of selectors does not matter, and no two sets are mixed up', () => {
  const { limits } = stage();
  const take = (...texts: readonly string[]) => times(() => limits.allowance(selectors(...texts)).takeRequest());
  assert.equal(take('unix:uid:1', 'unix:gid:2'), 5);
  assert.equal(take('unix:gid:2', 'unix:uid:1'), 0);
  assert.equal(take('unix:gid:2'), 5);
});

test('requests: so many at once and two more for each open stream, then at the rate', () => {
  const { limits, refusals, sleep } = stage();
  const mine = limits.allowance(ME);
  mine.openStream();
  mine.openStream();
  assert.equal(
    times(() => mine.takeRequest()),
    9,
  );
  sleep(1000);
  assert.equal(
    times(() => mine.takeRequest()),
    5,
  );
  sleep(100_000);
  assert.equal(
    times(() => mine.takeRequest()),
    9,
  );
  assert.deepEqual(refusals, ['requests', 'requests', 'requests']);
});

test('who opens and closes streams all the time gets no more requests by it', () => {
  const { limits } = stage();
  const mine = limits.allowance(ME);
  let count = 0;
  for (let round = 0; round < 100; round += 1) {
    const stream = mine.openStream();
    count += times(() => mine.takeRequest());
    stream[Symbol.dispose]();
  }
  assert.equal(count, 7);
});

test('bytes: four seconds of them at once, then at the rate', () => {
  const { limits, refusals, sleep } = stage();
  const mine = limits.allowance(ME);
  assert.equal(
    times(() => mine.takeBytes(500)),
    8,
  );
  assert.throws(() => mine.takeBytes(1), { message: 'requests of more than 1000 bytes a second' });
  sleep(500);
  mine.takeBytes(500);
  assert.deepEqual(refusals, ['bytes', 'bytes']);
});

const names = [
  { what: 'as many names as allowed', tally: { count: 10, longest: 2300, total: 23_000 }, limit: undefined },
  { what: 'a name more', tally: { count: 11, longest: 1, total: 11 }, limit: 'more than 10 resource names' },
  { what: 'a long name', tally: { count: 1, longest: 2301, total: 2301 }, limit: 'longer than 2300 bytes' },
  {
    what: 'long names together',
    tally: { count: 10, longest: 2300, total: 256 * KIB + 1 },
    limit: 'longer than 262144 bytes together',
  },
];

for (const { what, tally, limit } of names) {
  test(`${what} ${limit === undefined ? 'may be asked for' : 'is too much'}`, () => {
    const { limits, refusals } = stage();
    const check = (): void => limits.allowance(ME).names.check(tally);
    if (limit === undefined) assert.doesNotThrow(check);
    else assert.throws(check, { code: 'overloaded', message: new RegExp(limit) });
    assert.deepEqual(refusals, limit === undefined ? [] : ['names']);
  });
}

test('ten thousand names of the usual length fit where ten thousand are allowed', () => {
  const { limits } = stage({ namesPerStream: 10_000 });
  limits.allowance(ME).names.check({ count: 10_000, longest: 2300, total: 10_000 * 256 });
});

test('callers that are gone are forgotten once they owe nothing, those with open streams are not', () => {
  const { limits, sleep } = stage();
  for (let uid = 0; uid < 10_000; uid += 1) {
    const one = limits.allowance(selectors(`unix:uid:${uid}`));
    const stream = one.openStream();
    one.takeRequest();
    stream[Symbol.dispose]();
    sleep(1);
  }
  assert.ok(limits.size < 3000, `${limits.size} are remembered`);
  const stream = limits.allowance(ME).openStream();
  sleep(10_000);
  limits.allowance(ME);
  assert.equal(limits.size, 1);
  assert.equal(
    times(() => limits.allowance(ME).openStream()),
    2,
  );
  stream[Symbol.dispose]();
});

test('a caller that spent everything is not forgotten by going away for a moment', () => {
  const { limits, sleep } = stage();
  const spend = () => times(() => limits.allowance(ME).takeRequest());
  assert.equal(spend(), 5);
  sleep(400);
  assert.equal(spend(), 2);
  sleep(100_000);
  assert.equal(spend(), 5);
});

test('a request of many names is taken as soon as any is, and counts for more', () => {
  const { limits, sleep } = stage({ requestsPerSecond: 100 });
  const mine = limits.allowance(ME);
  mine.takeRequest(1000); // as much as 51
  assert.equal(
    times(() => mine.takeRequest(19)),
    49,
  );
  sleep(10);
  mine.takeRequest(100_000); // never more than a second's worth, beside itself
  sleep(1000);
  assert.equal(
    times(() => mine.takeRequest()),
    0,
  );
  sleep(10);
  assert.equal(
    times(() => mine.takeRequest()),
    1,
  );
});

test('names are counted over all streams of a caller, for as long as they are asked for', () => {
  const { limits, refusals } = stage({ requestsPerSecond: 100 });
  const [one, other] = [limits.allowance(ME).openStream(), limits.allowance(ME).openStream()];
  one.hold(80);
  other.hold(12); // 4 for each of 3 streams, and 8 times what one stream may have
  assert.throws(() => other.hold(13), {
    code: 'overloaded',
    message: 'more than 92 resource names on all open streams',
  });
  one.hold(79);
  other.hold(13);
  limits.allowance(selectors('unix:uid:2')).openStream().hold(92);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  one.hold(50);
  other.hold(92);
  other[Symbol.dispose]();
  limits.allowance(ME).openStream().hold(92);
  assert.deepEqual(refusals, ['names']);
});
