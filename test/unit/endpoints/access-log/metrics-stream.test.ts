import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { LoggingCaller } from '../../../../src/endpoints/access-log/caller.ts';
import { FairTurns } from '../../../../src/endpoints/access-log/fair-turns.ts';
import { takeMetrics } from '../../../../src/endpoints/access-log/metrics-stream.ts';
import type { ToldCounters } from '../../../../src/evidence/index.ts';
import { encodeMessage, StreamMetricsMessage } from '../../../../src/proto/index.ts';

const NOW = 1_795_383_420_000;
const AT = NOW - 300;
const ALLOWED = 'http.in.rbac.svidgate_default_.shadow_allowed';

interface Family {
  readonly name: string;
  readonly counter?: number;
  readonly gauge?: number;
}

function message(families: readonly Family[], at = AT): Uint8Array {
  return encodeMessage(StreamMetricsMessage, {
    identifier: { node: { id: 'orders' } },
    envoyMetrics: families.map(({ name, counter, gauge }) => ({
      name,
      metric: [
        {
          ...(counter === undefined ? {} : { counter: { value: counter } }),
          ...(gauge === undefined ? {} : { gauge: { value: gauge } }),
          timestampMs: at,
        },
      ],
    })),
  });
}

/** What the book was told; the caller may have `default` alone. */
async function take(
  bytes: Uint8Array,
): Promise<{ readonly name: string; readonly told: readonly ToldCounters[]; readonly turns: number }> {
  const told: ToldCounters[] = [];
  let name = '';
  const caller: LoggingCaller = {
    pid: 1,
    signal: new AbortController().signal,
    book: { name: (text) => (name = text), receive: () => undefined, count: (counters) => void told.push(counters) },
    rights: () => ({ ids: [], mayHave: (policy) => policy === 'default' }),
  };
  let taken = 0;
  const turns = new (class extends FairTurns {
    override take(): Promise<void> {
      taken += 1;
      return Promise.resolve();
    }
  })();
  await takeMetrics(bytes, caller, { clock: { now: () => NOW }, turns });
  return { name, told, turns: taken };
}

describe('what an Envoy tells of its own counters', () => {
  it('is taken of policies that it may have, of all its listeners, and of nothing else', async () => {
    const families = [
      { name: ALLOWED, counter: 40 },
      { name: 'http.out.rbac.svidgate_default_.shadow_allowed', counter: 2 },
      { name: 'http.in.rbac.svidgate_default_.denied', counter: 5 },
      { name: 'http.in.rbac.svidgate_default_.shadow_denied', counter: 9 },
      { name: 'http.in.rbac.svidgate_other_.shadow_allowed', counter: 7 },
      { name: 'http.in.rbac.allowed', counter: 7 },
      { name: 'http.in.downstream_rq_active', gauge: 3 },
      { name: 'http.admin.downstream_rq_active', gauge: 1 },
      { name: 'cluster.x.upstream_rq_total', counter: 1 },
    ];
    assert.deepEqual(await take(message(families)), {
      name: 'orders',
      turns: 1,
      told: [
        {
          at: AT,
          active: 3,
          counters: [
            { stat: ALLOWED, policy: 'default', outcome: 'allow', value: 40 },
            { stat: ALLOWED.replace('in', 'out'), policy: 'default', outcome: 'allow', value: 2 },
            { stat: 'http.in.rbac.svidgate_default_.denied', policy: 'default', outcome: 'deny', value: 5 },
          ],
        },
      ],
    });
  });

  it('is told at our time where its own cannot be', async () => {
    const {
      told: [told],
    } = await take(message([{ name: ALLOWED, counter: 1 }], NOW + 3_600_000));
    assert.equal(told?.at, NOW);
    assert.equal(told?.active, undefined);
  });

  it('is nothing where it is about others alone', async () => {
    assert.deepEqual((await take(message([{ name: 'cluster.x.upstream_rq_total', counter: 1 }]))).told, []);
  });

  it('counts no value that no counter has', async () => {
    for (const counter of [NaN, Infinity, -1]) {
      assert.deepEqual((await take(message([{ name: ALLOWED, counter }]))).told, []);
    }
  });

  it('is refused with an error of ours and no other, whatever the bytes', async () => {
    const whole = message([{ name: ALLOWED, counter: 40 }]);
    const attempt = async (bytes: Uint8Array): Promise<void> => {
      try {
        await take(bytes);
      } catch (error) {
        assert.ok(['invalid_request', 'too_large'].includes((error as { readonly code: string }).code));
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), fc.nat(whole.length - 1), async (noise, at) => {
        await attempt(noise);
        const mixed = Uint8Array.from(whole);
        mixed.set(noise.subarray(0, whole.length - at), at);
        await attempt(mixed);
      }),
    );
  });

  it('is read in turns, so that nobody waits for a large one', async () => {
    const families = Array.from({ length: 640 }, () => ({ name: 'cluster.x.upstream_rq_total', counter: 1 }));
    assert.equal((await take(message([...families, { name: ALLOWED, counter: 3 }]))).turns, 10);
    const noise = new Uint8Array(1 << 20).map((_, at) => (at % 2 === 0 ? 0x0a : 0));
    assert.ok((await take(noise)).turns > 8000);
  });
});
