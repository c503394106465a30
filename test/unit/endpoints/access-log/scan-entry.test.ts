import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { scanEntry } from '../../../../src/endpoints/access-log/scan-entry.ts';
import { AccessLogType, encodeMessage, HttpAccessLogEntry } from '../../../../src/proto/index.ts';
import { ALLOWED_BY_A, entryBytes, logEntry, rbacMetadata, type EntryParts } from '../../../support/log-entries.ts';

const FILTER = 'envoy.filters.http.rbac';
const ALLOW = { policy: 'default', outcome: 'allow', rule: 'rule-a' } as const;

describe('what our filters said of a logged request', () => {
  const CASES: readonly { readonly name: string; readonly parts: EntryParts; readonly decisions: readonly object[] }[] =
    [
      { name: 'allowed', parts: {}, decisions: [ALLOW] },
      { name: 'nothing', parts: { texts: {} }, decisions: [] },
      {
        name: 'denied by the shadow: a call decided',
        parts: { texts: { svidgate_default_shadow_engine_result: 'denied' } },
        decisions: [],
      },
      {
        name: 'refused without a call',
        parts: {
          texts: { svidgate_default_enforced_engine_result: 'denied', svidgate_default_shadow_engine_result: 'denied' },
        },
        decisions: [{ policy: 'default', outcome: 'deny' }],
      },
      {
        name: 'allowed and refused is refused',
        parts: { texts: { ...ALLOWED_BY_A, svidgate_default_enforced_engine_result: 'denied' } },
        decisions: [{ policy: 'default', outcome: 'deny' }],
      },
      {
        name: 'a policy with underscores',
        parts: { texts: { svidgate_a_b_shadow_engine_result: 'allowed' } },
        decisions: [{ policy: 'a_b', outcome: 'allow' }],
      },
      {
        name: 'other keys',
        parts: { texts: { shadow_engine_result: 'allowed', svidgate__shadow: 'allowed' } },
        decisions: [],
      },
      {
        name: 'of another filter',
        parts: { common: { metadata: rbacMetadata(ALLOWED_BY_A, 'mallory') } },
        decisions: [],
      },
    ];
  for (const { name, parts, decisions } of CASES) {
    it(name, () => {
      const scanned = scanEntry(entryBytes(parts), FILTER);
      assert.deepEqual(scanned, { decisions, isLast: true, startedAt: 1_795_383_418_369 });
    });
  }

  it('an entry before the end of the request is not its last', () => {
    const bytes = entryBytes({ common: { accessLogType: AccessLogType.DownstreamStart } });
    assert.equal(scanEntry(bytes, FILTER)?.isLast, false);
  });

  it('says the same of the same again, and of metadata that stands in two parts', () => {
    const half = (texts: Readonly<Record<string, string>>): Uint8Array => entryBytes({ texts });
    const result = { svidgate_default_shadow_engine_result: 'allowed' };
    const rule = { svidgate_default_shadow_effective_policy_id: 'rule-a' };
    for (let count = 0; count < 2; count += 1) {
      assert.deepEqual(scanEntry(half(rule), FILTER)?.decisions, []);
      assert.deepEqual(scanEntry(half(result), FILTER)?.decisions, [{ policy: 'default', outcome: 'allow' }]);
      assert.deepEqual(scanEntry(half(result), 'another')?.decisions, []);
      assert.deepEqual(scanEntry(Buffer.concat([half(rule), half(result)]), FILTER)?.decisions, [ALLOW]);
    }
  });

  it('bytes that are no entry are none, and no bytes throw', () => {
    const whole = entryBytes();
    for (let length = 1; length < whole.length; length += 1) {
      const scanned = scanEntry(whole.subarray(0, length), FILTER);
      assert.ok(scanned === undefined || scanned.decisions.length <= 1);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(whole.length - 1), (noise, at) => {
        scanEntry(noise, FILTER);
        const mixed = Uint8Array.from(whole);
        mixed.set(noise.subarray(0, Math.min(noise.length, whole.length - at)), at);
        scanEntry(mixed, FILTER);
      }),
    );
  });

  it('reads what decoding reads, whatever else is in the entry', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ maxLength: 8 }), fc.string({ maxLength: 20 }), { maxKeys: 5 }),
        fc.string({ maxLength: 100 }),
        fc.nat(2_000_000_000),
        (requestHeaders, path, seconds) => {
          const parts = { request: { requestHeaders, path }, common: { startTime: { seconds, nanos: 0 } } };
          const bytes = encodeMessage(HttpAccessLogEntry, logEntry(parts));
          assert.deepEqual(scanEntry(bytes, FILTER), { decisions: [ALLOW], isLast: true, startedAt: seconds * 1000 });
        },
      ),
    );
  });
});
