import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeEntry, KEPT, type LoggedEntry } from '../../../../src/evidence/offloaded/logged-entry.ts';
import { decodeMessage, HttpAccessLogEntry } from '../../../../src/proto/index.ts';
import { entryBytes, peerWith, rbacMetadata, ALLOWED_BY_A } from '../../../support/log-entries.ts';

const MAX_BYTES = 64 * 1024;

/** All that records are made of. */
function read({ request, protocolVersion, commonProperties: common }: LoggedEntry) {
  const kept = common?.metadata?.filterMetadata ?? {};
  return {
    request,
    protocolVersion,
    startTime: common?.startTime,
    kept: Object.hasOwn(kept, KEPT) ? kept[KEPT] : undefined,
    tags: { ...common?.customTags },
    tls: common?.tlsProperties,
    addresses: [common?.downstreamLocalAddress, common?.downstreamRemoteAddress, common?.downstreamDirectRemoteAddress],
  };
}

/** Undefined for bytes that are no entry. */
function wholeOf(bytes: Uint8Array): LoggedEntry | undefined {
  try {
    return decodeMessage(HttpAccessLogEntry, bytes, MAX_BYTES);
  } catch {
    return undefined;
  }
}

const TEXT = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 12 }), fc.constantFrom('__proto__', 'path', KEPT));
const TEXTS = fc.dictionary(TEXT, TEXT, { maxKeys: 3 });
const ADDRESS = fc.record({ socketAddress: fc.record({ address: TEXT, portValue: fc.nat(65_535) }) });
const PARTS = fc.record({
  entry: fc.record({ protocolVersion: fc.integer({ min: -2, max: 5 }) }),
  request: fc.record({ path: TEXT, requestHeaders: TEXTS, userAgent: TEXT, requestMethod: fc.nat(20) }),
  common: fc.record(
    {
      startTime: fc.record({ seconds: fc.integer(), nanos: fc.nat(999_999_999) }),
      customTags: fc.dictionary(fc.oneof(TEXT, fc.constant('svidgate.route')), TEXT, { maxKeys: 2 }),
      metadata: fc.oneof(
        TEXTS.map((texts) => rbacMetadata(texts, KEPT)),
        fc.constant(rbacMetadata(ALLOWED_BY_A)),
      ),
      tlsProperties: fc.array(TEXT, { maxLength: 3 }).map((uris) => peerWith(...uris).tlsProperties ?? {}),
      downstreamLocalAddress: ADDRESS,
      downstreamDirectRemoteAddress: ADDRESS,
    },
    { requiredKeys: [] },
  ),
});

describe('an entry of which little is decoded', () => {
  it('reads as one that is decoded as a whole, also where parts of it stand twice', () => {
    fc.assert(
      fc.property(PARTS, fc.option(PARTS), (parts, more) => {
        const bytes = Buffer.concat([entryBytes(parts), ...(more === null ? [] : [entryBytes(more)])]);
        assert.deepEqual(read(decodeEntry(bytes)), read(decodeMessage(HttpAccessLogEntry, bytes, MAX_BYTES)));
      }),
    );
  });

  it('reads as the whole where bytes were changed, or is refused; what is wrong with other parts does not matter', () => {
    fc.assert(
      fc.property(PARTS, fc.uint8Array({ maxLength: 4 }), fc.nat(1000), (parts, noise, place) => {
        const bytes = entryBytes(parts);
        bytes.set(noise.subarray(0, bytes.length), place % (bytes.length - Math.min(noise.length, bytes.length) + 1));
        const whole = wholeOf(bytes);
        if (whole !== undefined) assert.deepEqual(read(decodeEntry(bytes)), read(whole));
        else refusedOrRead(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it('is refused beyond its limit', () => {
    assert.throws(() => decodeEntry(new Uint8Array(MAX_BYTES + 1)), { code: 'too_large' });
  });
});

function refusedOrRead(bytes: Uint8Array): void {
  try {
    read(decodeEntry(bytes));
  } catch (error) {
    assert.equal((error as { readonly code?: unknown }).code, 'invalid_request');
  }
}
