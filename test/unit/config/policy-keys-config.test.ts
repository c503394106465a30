import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatMistake, parseConfig, type PolicyConfig } from '../../../src/config/index.ts';

const FILE = '/etc/svidgate.yaml';

function textOf(keys: string, policies: string): string {
  return `trust_domain: td.test\nauthz:\n  policy_keys: { ${keys} }\n  policies: { ${policies} }\n`;
}

function verifyOf(keys: string, policy: string): PolicyConfig['verify'] {
  const { value, mistakes } = parseConfig(textOf(keys, `default: { ${policy} }`), FILE);
  assert.ok(value?.authz, mistakes?.map(formatMistake).join('\n'));
  return value.authz.policies.get('default')?.verify;
}

const KEY = 'release: { public_key_file: ./release.pem }';

test('a policy names the keys that its bundle is signed with', () => {
  assert.equal(verifyOf(KEY, 'path: a.tar.gz'), undefined);
  assert.deepEqual(verifyOf(KEY, 'path: a.tar.gz, verify: { keys: [release] }'), {
    keys: [{ name: 'release', id: 'release', algorithm: 'RS256', file: '/etc/release.pem' }],
    scope: '',
    excludeFiles: [],
  });
  const keys = `${KEY}, shared: { algorithm: HS512, secret_file: /run/secret, key_id: "2026" }`;
  const verify = 'verify: { keys: [release, shared], scope: read, exclude_files: ["notes/*", "a?.md"] }';
  for (const policy of [`path: a.tgz, ${verify}`, `bundle: { url: "https://bundles.test/a" }, ${verify}`]) {
    assert.deepEqual(verifyOf(keys, policy), {
      keys: [
        { name: 'release', id: 'release', algorithm: 'RS256', file: '/etc/release.pem' },
        { name: 'shared', id: '2026', algorithm: 'HS512', file: '/run/secret' },
      ],
      scope: 'read',
      excludeFiles: ['notes/*', 'a?.md'],
    });
  }
});

const VERIFIED = 'path: a.tar.gz, verify: { keys: [release] }';
const WRONG: readonly (readonly [keys: string, policy: string, mistake: RegExp])[] = [
  ['release: {}', VERIFIED, /:3:\d+: `key` has none of `public_key_file`, `secret_file`/],
  ['release: { public_key_file: a, secret_file: b }', VERIFIED, /`key` has more than one of/],
  [
    'release: { algorithm: HS256, public_key_file: a }',
    VERIFIED,
    /`HS256` has no `public_key_file`: give a `secret_file`/,
  ],
  ['release: { algorithm: ES256, secret_file: a }', VERIFIED, /`ES256` has no `secret_file`: give a `public_key_file`/],
  [
    'release: { algorithm: none, public_key_file: a }',
    VERIFIED,
    /policy_keys\.release\.algorithm` is .*expected one of/,
  ],
  ['"a b": { public_key_file: a }', 'path: a.tar.gz', /"a b" is not a valid name/],
  [KEY, 'path: a.tar.gz, verify: { keys: [] }', /verify\.keys`/],
  [KEY, 'path: a.tar.gz, verify: {}', /verify\.keys`/],
  [
    KEY,
    'path: a.tar.gz, verify: { keys: [other] }',
    /:4:\d+: there is no key `other`: name one of `authz\.policy_keys`/,
  ],
  [KEY, 'path: a.tar.gz, verify: { keys: [toString] }', /there is no key `toString`/],
  [KEY, 'path: a.tar.gz, verify: { keys: [release, release] }', /two keys have the id `release`/],
  [
    `${KEY}, two: { public_key_file: b, key_id: release }`,
    'path: a.tar.gz, verify: { keys: [release, two] }',
    /two keys have the id/,
  ],
  [KEY, 'path: ./folder, verify: { keys: [release] }', /policy `default` is no bundle, and bears no signature/],
  [KEY, 'path: a.tar.gz, verify: { keys: [release], exclude_files: ["[a"] }', /expected a pattern/],
  [KEY, 'path: a.tar.gz, verify: { keys: [release], scopes: x }', /verify\.scopes`: did you mean `scope`/],
];

test('what does not fit is a mistake with its place', () => {
  for (const [keys, policy, mistake] of WRONG) {
    const { mistakes = [] } = parseConfig(textOf(keys, `default: { ${policy} }`), FILE);
    const texts = mistakes.map((each) => formatMistake(each).slice(FILE.length));
    assert.equal(texts.length, 1, `${keys} ${policy}: ${texts.join('\n')}`);
    assert.match(texts[0] ?? '', mistake);
  }
});
