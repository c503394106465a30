import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { expandOffloaded } from '../../../../src/evidence/offloaded/expand-offloaded.ts';
import type { DecisionFacts } from '../../../../src/evidence/records/decision-facts.ts';
import type { RecordedPaths } from '../../../../src/evidence/records/decision-record.ts';
import { entryBytes, peerWith, type EntryParts } from '../../../support/log-entries.ts';

const NOW = 1_795_383_420_000;
const HTTP = ['attributes', 'request', 'http'];
const WEB = 'spiffe://example.test/web';

function expand(parts: EntryParts, recorded: RecordedPaths, verifiesPeer = false): ReturnType<typeof read> {
  const origin = [{ name: 'data.envoy.authz.allow', file: 'authz.rego', line: 3 }];
  const facts: DecisionFacts & { readonly offloaded: NonNullable<DecisionFacts['offloaded']> } = {
    decisionId: '1',
    at: NOW,
    durationNs: 0,
    requestNumber: 1,
    policy: 'default',
    outcome: 'allow',
    reason: '',
    httpStatus: 0,
    caller: 'attested',
    callerIds: ['spiffe://example.test/envoy'],
    listener: '',
    offloaded: { rule: 'rule-a', origin, verifiesPeer, knowsPolicy: true },
    evaluated: { value: true, cached: false, entrypoint: 'envoy/authz/allow', recorded },
  };
  return read(expandOffloaded(facts, entryBytes(parts)));
}

function read({ facts, input }: ReturnType<typeof expandOffloaded>) {
  return { facts, input: input ?? null, missing: facts.offloaded?.missing, recorded: facts.evaluated?.recorded };
}

describe('the input of a request that Envoy answered, from its log', () => {
  const CASES: readonly {
    readonly name: string;
    readonly parts?: EntryParts;
    readonly verifiesPeer?: boolean;
    readonly wanted: readonly (readonly (string | number)[])[];
    readonly input: unknown;
    readonly missing?: readonly string[];
  }[] = [
    {
      name: 'method, host and path',
      wanted: [[...HTTP, 'method'], [...HTTP, 'host'], [...HTTP, 'path'], ['parsed_path']],
      input: {
        attributes: { request: { http: { method: 'GET', host: 'orders.test', path: '/orders/17' } } },
        parsed_path: ['orders', '17'],
      },
      // It is logged as it was sent on.
      missing: ['/input/attributes/request/http/host'],
    },
    {
      name: 'segments of the path stand at their places',
      wanted: [['parsed_path', 1]],
      input: { parsed_path: [null, '17'] },
    },
    {
      name: 'the peer that the rule asked for',
      parts: { common: peerWith(WEB) },
      verifiesPeer: true,
      wanted: [['svidgate', 'peer', 'spiffe_id'], ['svidgate', 'peer', 'verified'], ['source_principal']],
      input: { svidgate: { peer: { spiffe_id: WEB, verified: true } }, source_principal: WEB },
    },
    {
      name: 'a certificate proves nothing where the rule did not ask for it',
      parts: { common: peerWith(WEB) },
      wanted: [
        ['svidgate', 'peer', 'spiffe_id'],
        ['attributes', 'source', 'principal'],
      ],
      input: { attributes: { source: { principal: WEB } } },
      missing: ['/input/svidgate/peer/spiffe_id'],
    },
    {
      name: 'with several URIs nobody is told',
      parts: { common: peerWith(WEB, 'spiffe://example.test/other') },
      verifiesPeer: true,
      wanted: [['svidgate', 'peer', 'spiffe_id']],
      input: {},
      missing: ['/input/svidgate/peer/spiffe_id'],
    },
    {
      name: 'a header that was logged, and none that was not',
      parts: { request: { requestHeaders: { 'x-tenant': 'blue' } } },
      wanted: [
        [...HTTP, 'headers', 'x-tenant'],
        [...HTTP, 'headers', 'x-team'],
        [...HTTP, 'headers', 'user-agent'],
      ],
      input: { attributes: { request: { http: { headers: { 'x-tenant': 'blue' } } } } },
      missing: ['x-tenant', 'x-team', 'user-agent'].map((name) => `/input/attributes/request/http/headers/${name}`),
    },
    {
      name: 'a header that a filter has kept is as the rules saw it',
      parts: {
        request: { requestHeaders: { 'x-tenant': 'forged' } },
        common: {
          metadata: { filterMetadata: { 'svidgate.request': { fields: { 'x-tenant': { stringValue: 'blue' } } } } },
        },
      },
      wanted: [[...HTTP, 'headers', 'x-tenant']],
      input: { attributes: { request: { http: { headers: { 'x-tenant': 'blue' } } } } },
    },
    {
      name: 'all headers are more than is known',
      wanted: [[...HTTP, 'headers']],
      input: {},
      missing: ['/input/attributes/request/http/headers'],
    },
    {
      name: 'a path that a route or a client may have changed is not known',
      parts: { request: { originalPath: '/v1/orders/17' } },
      wanted: [[...HTTP, 'method'], [...HTTP, 'path'], ['parsed_path']],
      input: { attributes: { request: { http: { method: 'GET' } } } },
      missing: ['/input/attributes/request/http/path', '/input/parsed_path'],
    },
    {
      name: 'unless a filter has kept it',
      parts: {
        request: { originalPath: '/forged', path: '/rewritten', authority: 'upstream.test' },
        common: {
          metadata: {
            filterMetadata: {
              'svidgate.request': {
                fields: { path: { stringValue: '/v1/orders' }, host: { stringValue: 'orders.test' } },
              },
            },
          },
        },
      },
      wanted: [[...HTTP, 'path'], ['parsed_path'], [...HTTP, 'host']],
      input: {
        attributes: { request: { http: { path: '/v1/orders', host: 'orders.test' } } },
        parsed_path: ['v1', 'orders'],
      },
    },
    {
      name: 'encoding is left to the gate',
      parts: { request: { path: '/orders/%2e?page=2&x=a+b' } },
      wanted: [[...HTTP, 'path'], ['parsed_path'], ['parsed_query']],
      input: { attributes: { request: { http: { path: '/orders/%2e?page=2&x=a+b' } } } },
      missing: ['/input/parsed_path', '/input/parsed_query'],
    },
    {
      name: 'a query, with names that objects have',
      parts: { request: { path: '//orders?page=2&page=3&__proto__=x&flag' } },
      wanted: [['parsed_query'], ['parsed_path']],
      input: JSON.parse('{"parsed_path":["orders"],"parsed_query":{"page":["2","3"],"__proto__":["x"],"flag":[""]}}'),
    },
    {
      name: 'a method beyond those of the enum is in a header',
      parts: { request: { requestMethod: 0, requestHeaders: { ':method': 'PROPFIND' } } },
      wanted: [[...HTTP, 'method']],
      input: { attributes: { request: { http: { method: 'PROPFIND' } } } },
    },
    {
      name: 'addresses that differ are not known',
      parts: { common: { downstreamRemoteAddress: { socketAddress: { address: '192.0.2.9', portValue: 0 } } } },
      wanted: [
        ['attributes', 'source', 'address'],
        ['svidgate', 'caller', 'kind'],
      ],
      input: { svidgate: { caller: { kind: 'attested' } } },
      missing: ['/input/attributes/source/address'],
    },
  ];
  for (const { name, parts = {}, verifiesPeer = false, wanted, input, missing = [] } of CASES) {
    it(name, () => {
      const expanded = expand(parts, wanted, verifiesPeer);
      assert.deepEqual(expanded.input, input);
      assert.deepEqual(expanded.missing, missing);
      assert.equal(Array.isArray(expanded.recorded) && expanded.recorded.length, wanted.length - missing.length);
    });
  }

  it('is not the whole of what a policy sees that looks at everything', () => {
    const { input, missing, recorded } = expand({}, 'all');
    assert.deepEqual(missing, ['/input']);
    assert.notEqual(recorded, 'all');
    assert.deepEqual((input as { readonly parsed_path: unknown }).parsed_path, ['orders', '17']);
  });

  it('has the time of the request, unless that cannot be', () => {
    assert.equal(expand({}, []).facts.at, 1_795_383_418_369);
    assert.equal(expand({ common: { startTime: { seconds: 9_999_999_999 } } }, []).facts.at, NOW);
  });

  it('is refused where the bytes are no entry', () => {
    const facts = expand({}, []).facts;
    const offloaded = facts.offloaded ?? { origin: [], verifiesPeer: false, knowsPolicy: true };
    assert.throws(() => expandOffloaded({ ...facts, offloaded }, Uint8Array.of(0x0a, 0xff)), {
      code: 'invalid_request',
    });
  });
});
