import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDeltaRequest, readSotwRequest, type RequestRules } from '../../../src/discovery/discovery-request.ts';
import {
  DeltaDiscoveryRequest,
  DiscoveryRequest,
  encodeMessage,
  jsonToStruct,
  SECRET_TYPE_URL,
} from '../../../src/proto/index.ts';
import { collectGarbage } from '../../support/collect-garbage.ts';

const RULES: RequestRules = { typeUrl: SECRET_TYPE_URL, isAggregated: false, names: { check: () => undefined } };
const ADS: RequestRules = { ...RULES, isAggregated: true };

test('texts that a stream keeps are cut', () => {
  const long = 'é'.repeat(100_000);
  const bytes = encodeMessage(DiscoveryRequest, { node: { id: long, cluster: long }, errorDetail: { message: long } });
  const { node, refusal } = readSotwRequest(bytes, RULES);
  assert.deepEqual([node?.id, node?.cluster, refusal], ['é'.repeat(256), 'é'.repeat(256), 'é'.repeat(512)]);
});

test('a stream keeps the beginning of a long text, not all of it', () => {
  const bytes = encodeMessage(DiscoveryRequest, {
    node: { id: 'i'.repeat(300_000), cluster: 'c'.repeat(300_000) },
    errorDetail: { message: 'm'.repeat(300_000) },
  });
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  const kept = Array.from({ length: 100 }, () => readSotwRequest(bytes, RULES));
  collectGarbage();
  const grown = process.memoryUsage().heapUsed - before;
  assert.ok(kept.length === 100 && grown < 5_000_000, `${grown} bytes are held`);
});

const TYPES = [
  { name: 'the type of secrets', typeUrl: SECRET_TYPE_URL, alone: true, ads: true },
  { name: 'no type', typeUrl: '', alone: true, ads: false },
  { name: 'another type', typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster', alone: false, ads: false },
];

for (const { name, typeUrl, alone, ads } of TYPES) {
  for (const [rules, isTaken] of [
    [RULES, alone],
    [ADS, ads],
  ] as const) {
    test(`${name} is ${isTaken ? 'taken' : 'refused'}${rules === ADS ? ' under ADS' : ''}, in both variants`, () => {
      const reads = [
        () => readSotwRequest(encodeMessage(DiscoveryRequest, { typeUrl }), rules),
        () => readDeltaRequest(encodeMessage(DeltaDiscoveryRequest, { typeUrl }), rules),
      ];
      for (const read of reads) {
        if (isTaken) assert.doesNotThrow(read);
        else assert.throws(read, { code: 'invalid_request', message: `type_url must be ${SECRET_TYPE_URL}` });
      }
    });
  }
}

test('the empty name is no name, and a name that is there twice is one', () => {
  const sotw = readSotwRequest(encodeMessage(DiscoveryRequest, { resourceNames: ['', 'a', 'a'] }), RULES);
  assert.deepEqual([...sotw.names], ['a']);
  const delta = readDeltaRequest(
    encodeMessage(DeltaDiscoveryRequest, {
      resourceNamesSubscribe: ['', 'b', 'b'],
      resourceNamesUnsubscribe: ['', 'c'],
    }),
    RULES,
  );
  assert.deepEqual([[...delta.subscribe], [...delta.unsubscribe]], [['b'], ['c']]);
});

const FLAGS = [
  { metadata: { disable_spiffe_cert_validation: true }, flag: true },
  { metadata: { disable_spiffe_cert_validation: 'F' }, flag: false },
  { metadata: { disable_spiffe_cert_validation: 1 }, flag: undefined },
  { metadata: { disable_spiffe_cert_validation: { deep: true } }, flag: undefined },
  { metadata: { other: true }, flag: undefined },
];

for (const { metadata, flag } of FLAGS) {
  test(`node metadata ${JSON.stringify(metadata)} says ${flag}`, () => {
    const bytes = encodeMessage(DiscoveryRequest, { node: { metadata: jsonToStruct(metadata) } });
    assert.equal(readSotwRequest(bytes, RULES).node?.disableSpiffeCertValidation, flag);
  });
}

test('too many versions from before are refused, and of long names only the first are read', () => {
  const versions = (count: number, name: (index: number) => string) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [name(index), 'v']));
  const read = (initialResourceVersions: Readonly<Record<string, string>>) =>
    readDeltaRequest(encodeMessage(DeltaDiscoveryRequest, { initialResourceVersions }), RULES).initialVersions;
  assert.equal(read(versions(10_000, (index) => `n${index}`)).size, 10_000);
  assert.throws(() => read(versions(10_001, (index) => `n${index}`)), { code: 'invalid_request' });
  assert.equal(read(versions(100, (index) => `${index}`.padEnd(10_000, 'x'))).size, 26);
  assert.deepEqual([...read({ a: 'v'.repeat(65) })], [['a', 'not ours']]);
});

test('what the names are counted as is told before they are decoded', () => {
  const refused = new Error('refused');
  const seen: unknown[] = [];
  const rules: RequestRules = {
    typeUrl: SECRET_TYPE_URL,
    isAggregated: false,
    names: {
      check(tally) {
        seen.push(tally);
        throw refused;
      },
    },
  };
  const notUtf8 = Buffer.from([0x1a, 0x01, 0xff, 0x1a, 0x03, 0xff, 0xff, 0xff]);
  assert.throws(() => readSotwRequest(notUtf8, rules), refused);
  assert.deepEqual(seen, [{ count: 2, longest: 3, total: 4 }]);
});
