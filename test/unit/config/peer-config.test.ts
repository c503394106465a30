import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate/svidgate.yaml';

function parsed(lines: string) {
  const text = `trust_domain: td.test\nauthz:\n${lines.replaceAll(/^(?=.)/gm, '  ')}`;
  return parseConfig(text, FILE);
}

test('every key about who sent a request reaches the resolved configuration', () => {
  const { value, mistakes } = parsed(`xfcc: { trusted: [spiffe://td.test/gateway, spiffe://td.test/edge/**] }
jwt_svid: { audiences: [orders], header: X-Svid, single_use: true }
jwt_providers:
  full:
    issuer: https://issuer.test
    audiences: [api, web]
    algorithms: [ES384, PS256]
    header: Authorization
    prefix: 'Token '
    jwks_uri: https://issuer.test/keys
    ca_file: ca.pem
    token_file: /t
    cache: { refresh: 1m, keep: 1h }
    required_claims: { https://acme.test/role: [admin], sub: [a, b] }
    clock_skew: 0s
    single_use: true
  short: { issuer: i, audiences: [api], jwks_file: keys.json }
`);
  assert.equal(mistakes, undefined);
  assert.deepEqual(value?.authz?.identity, {
    xfccTrusted: [
      { kind: 'exact', spiffeId: 'spiffe://td.test/gateway' },
      { kind: 'beneath', prefix: 'spiffe://td.test/edge/' },
    ],
    jwtSvid: { place: { header: 'x-svid', prefix: '' }, audiences: ['orders'], singleUse: true },
    jwtProviders: new Map<string, unknown>([
      [
        'full',
        {
          place: { header: 'authorization', prefix: 'Token ' },
          issuer: 'https://issuer.test',
          audiences: ['api', 'web'],
          algorithms: ['ES384', 'PS256'],
          keys: {
            kind: 'https',
            url: 'https://issuer.test/keys',
            caFile: '/etc/svidgate/ca.pem',
            tokenFile: '/t',
            refreshMs: 60_000,
            keepMs: 3_600_000,
          },
          requiredClaims: new Map([
            ['https://acme.test/role', ['admin']],
            ['sub', ['a', 'b']],
          ]),
          clockSkewMs: 0,
          singleUse: true,
        },
      ],
      [
        'short',
        {
          place: { header: 'authorization', prefix: 'Bearer ' },
          issuer: 'i',
          audiences: ['api'],
          algorithms: ['RS256', 'ES256'],
          keys: { kind: 'file', file: '/etc/svidgate/keys.json' },
          requiredClaims: new Map(),
          clockSkewMs: 30_000,
          singleUse: false,
        },
      ],
    ]),
  });
});

const provider = (more: string): string => `jwt_providers: { p: { issuer: i, audiences: [a], ${more} } }\n`;
const KEYS = 'jwks_file: k';

const MISTAKES: readonly (readonly [name: string, lines: string, mistake: RegExp])[] = [
  ['no keys', provider(''), /`jwt_providers.NAME` has none of `jwks_uri`, `jwks_file`/],
  ['keys twice', provider(`${KEYS}, jwks_uri: https://i/`), /has more than one of `jwks_uri`, `jwks_file`/],
  ['plain HTTP', provider('jwks_uri: http://issuer.test/keys'), /expected https:/],
  ['a password', provider('jwks_uri: https://me:secret@issuer.test/'), /without user or fragment/],
  ['a CA for a file', provider(`${KEYS}, ca_file: c`), /`ca_file` is for `jwks_uri`/],
  ['a token for a file', provider(`${KEYS}, token_file: c`), /`token_file` is for `jwks_uri`/],
  ['no algorithm', provider(`${KEYS}, algorithms: []`), /algorithms/],
  ['the algorithm none', provider(`${KEYS}, algorithms: [none]`), /one of `RS256`/],
  ['a shared secret', provider(`${KEYS}, algorithms: [HS256]`), /one of `RS256`/],
  ['no audience', `jwt_providers: { p: { issuer: i, audiences: [], ${KEYS} } }\n`, /audiences/],
  ['a claim without values', provider(`${KEYS}, required_claims: { owner: [] }`), /owner/],
  ['no claims', provider(`${KEYS}, required_claims: {}`), /no name is given/],
  ['a header that is none', provider(`${KEYS}, header: 'x y'`), /expected the name of a header/],
  ['a pseudo header', provider(`${KEYS}, header: ':path'`), /expected the name of a header/],
  ['a long skew', provider(`${KEYS}, clock_skew: 1h`), /expected a duration from 0s to 5m/],
  ['JWT-SVIDs without audience', 'jwt_svid: {}\n', /audiences/],
  ['the name of JWT-SVIDs', `jwt_providers: { jwt_svid: { issuer: i, audiences: [a], ${KEYS} } }\n`, /not `jwt_svid`/],
  ['everybody as writer', "xfcc: { trusted: ['**'] }\n", /xfcc.trusted/],
  ['a trust domain as writer', 'xfcc: { trusted: [spiffe://td.test] }\n', /no workload has the ID of a trust domain/],
  [
    'an issuer twice in one header',
    `jwt_providers:\n  a: { issuer: i, audiences: [a], ${KEYS} }\n  b: { issuer: i, audiences: [b], prefix: bearer , ${KEYS} }\n`.replace(
      'bearer ,',
      "'bearer ',",
    ),
    /`b` has the issuer and the header of `a`: give one of them all audiences/,
  ],
];

for (const [name, lines, mistake] of MISTAKES) {
  test(`a mistake about who sent a request: ${name}`, () => {
    const mistakes = (parsed(lines).mistakes ?? []).map(formatMistake);
    assert.ok(mistakes.length > 0, 'it is refused');
    assert.match(mistakes.join('\n'), mistake);
  });
}

test('one issuer in two headers is two providers', () => {
  const lines = `jwt_providers:\n  a: { issuer: i, audiences: [a], ${KEYS} }\n  b: { issuer: i, audiences: [b], header: x-b, ${KEYS} }\n`;
  assert.equal(parsed(lines).mistakes, undefined);
});
