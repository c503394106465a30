import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDiscoveryRequest } from '../../../../src/endpoints/sds/discovery-request.ts';
import { DiscoveryRequest, encodeMessage } from '../../../../src/proto/index.ts';
import { collectGarbage } from '../../../support/collect-garbage.ts';

test('texts that a stream keeps are cut', () => {
  const long = 'é'.repeat(100_000);
  const bytes = encodeMessage(DiscoveryRequest, { node: { id: long, cluster: long }, errorDetail: { message: long } });
  const { node, refusal } = readDiscoveryRequest(bytes);
  assert.deepEqual([node?.id, node?.cluster, refusal], ['é'.repeat(256), 'é'.repeat(256), 'é'.repeat(512)]);
});

test('a stream keeps the beginning of a long text, not all of it', () => {
  const bytes = encodeMessage(DiscoveryRequest, {
    node: { id: 'i'.repeat(300_000), cluster: 'c'.repeat(300_000) },
    errorDetail: { message: 'm'.repeat(300_000) },
  });
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  const kept = Array.from({ length: 100 }, () => readDiscoveryRequest(bytes));
  collectGarbage();
  const grown = process.memoryUsage().heapUsed - before;
  assert.ok(kept.length === 100 && grown < 5_000_000, `${grown} bytes are held`);
});
