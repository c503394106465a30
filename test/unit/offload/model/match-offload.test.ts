import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ENVOY_READINGS,
  matchOffload,
  requestOfInput,
  type EnvoyRequest,
  type OffloadRule,
  type OffloadSet,
} from '../../../../src/offload/index.ts';

const ALICE = 'spiffe://example.test/alice';
const BOB = 'spiffe://example.test/bob';

const rule = (parts: Partial<OffloadRule>): OffloadRule => ({
  id: 'r1',
  request: { kind: 'always' },
  peer: { kind: 'anyone', except: [] },
  origin: [],
  ...parts,
});
const setOf = (...allow: readonly OffloadRule[]): OffloadSet => ({ policy: 'p', policyDigest: '', allow });
const request = (parts: Partial<EnvoyRequest> & { readonly path?: string } = {}): EnvoyRequest => {
  const { path = '/', headers = [], ...rest } = parts;
  return {
    headers: [[':method', 'GET'], [':path', path], [':authority', 'a.test'], ...headers],
    serverName: '',
    ...rest,
  };
};
const peer = (isVerified: boolean, ...uris: readonly string[]): Pick<EnvoyRequest, 'peer'> => ({
  peer: { uris, dnsNames: [], subject: 'CN=x', isVerified },
});

test('peers are those with a verified certificate of one URI SAN', () => {
  const set = setOf(rule({ peer: { kind: 'peers', of: [{ kind: 'exact', text: ALICE }], except: [] } }));
  const allows = (asked: EnvoyRequest): boolean => matchOffload(set, asked).allow !== undefined;
  assert.ok(allows(request(peer(true, ALICE))));
  for (const other of [{}, peer(false, ALICE), peer(true, BOB), peer(true, ALICE, BOB), peer(true)]) {
    assert.ok(!allows(request(other)));
  }
});

test('who is excepted never matches, however it is presented', () => {
  const set = setOf(rule({ peer: { kind: 'anyone', except: [{ kind: 'exact', text: BOB }] } }));
  assert.equal(matchOffload(set, request()).allow, 'r1');
  for (const shown of [peer(false, BOB), peer(true, ALICE, BOB)]) {
    assert.equal(matchOffload(set, request(shown)).allow, undefined);
  }
});

test('who has to be without a certificate has none, whatever is in it', () => {
  const set = setOf(rule({ peer: { kind: 'anyone', except: [], withoutCertificate: true } }));
  assert.equal(matchOffload(set, request()).allow, 'r1');
  const nameless = { peer: { uris: [], dnsNames: [], subject: '', isVerified: true } };
  for (const shown of [peer(false, BOB), peer(true), nameless]) {
    assert.equal(matchOffload(set, request(shown)).allow, undefined);
  }
});

test('several headers of a name are read as the version of Envoy does', () => {
  const twice = request({
    headers: [
      ['x-role', 'admin'],
      ['x-role', 'guest'],
    ],
  });
  const set = setOf(rule({ request: { kind: 'header', name: 'X-Role', match: { kind: 'exact', text: 'guest' } } }));
  assert.equal(matchOffload(set, twice, ENVOY_READINGS['1.36']).allow, undefined);
  assert.equal(matchOffload(set, twice, ENVOY_READINGS['1.40']).allow, 'r1');
  const exact = setOf(rule({ headers: [{ name: 'x-role', oneOf: ['admin,guest'] }] }));
  for (const reading of Object.values(ENVOY_READINGS)) assert.equal(matchOffload(exact, twice, reading).allow, 'r1');
});

test('a path ends before its query, and `host` is the authority', () => {
  const set = setOf(
    rule({ id: 'b', request: { kind: 'path', match: { kind: 'exact', text: '/a' } } }),
    rule({ id: 'c', request: { kind: 'header', name: 'host', match: { kind: 'exact', text: 'a.test' } } }),
    rule({ id: 'a', request: { kind: 'not', of: { kind: 'header', name: 'x-need', match: 'present' } } }),
  );
  // The first by its name.
  assert.equal(matchOffload(set, request({ path: '/a?x' })).allow, 'a');
  const asked = { headers: [['x-need', '']] } as const;
  assert.equal(matchOffload(set, request({ ...asked, path: '/a?x' })).allow, 'b');
  assert.equal(matchOffload(set, request({ ...asked, path: '/ab' })).allow, 'c');
});

test('what matches no outer rule is refused, and nothing is where there are none', () => {
  const outer = [rule({ request: { kind: 'path', match: { kind: 'prefix', text: '/a' } } })];
  assert.equal(matchOffload({ ...setOf(), outer }, request({ path: '/b' })).refused, true);
  assert.equal(matchOffload({ ...setOf(), outer }, request({ path: '/ab' })).refused, false);
  assert.equal(matchOffload(setOf(), request()).refused, false);
});

test('an input document tells of a request', () => {
  const input = {
    attributes: {
      source: { principal: ALICE },
      destination: { address: { socketAddress: { address: '10.0.0.1', portValue: 80 } } },
      request: { http: { method: 'GET', path: '/é', host: 'a.test', headers: { ':path': '/é', 'x-a': 'b' } } },
      tlsSession: { sni: 'a.test' },
    },
    svidgate: { peer: { verified: true, spiffe_id: ALICE } },
  };
  assert.deepEqual(requestOfInput(input), {
    headers: [
      [':method', 'GET'],
      [':authority', 'a.test'],
      [':path', '/Ã©'],
      ['x-a', 'b'],
    ],
    peer: { uris: [ALICE], dnsNames: [], subject: '', isVerified: true },
    destination: { address: '10.0.0.1', port: 80 },
    serverName: 'a.test',
  });
  assert.equal(requestOfInput({ attributes: {} }), undefined);
});
