import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { matchesSpiffeId, parseSpiffeId, parseSpiffeIdPattern } from '../../../src/spiffe/index.ts';

const matches = (pattern: string, id: string): boolean =>
  matchesSpiffeId(parseSpiffeIdPattern(pattern), parseSpiffeId(id));

describe('a pattern', () => {
  const READ: readonly (readonly [text: string, pattern: object])[] = [
    ['spiffe://td.test/a', { kind: 'exact', spiffeId: 'spiffe://td.test/a' }],
    ['spiffe://td.test/a/b', { kind: 'exact', spiffeId: 'spiffe://td.test/a/b' }],
    ['spiffe://td.test/**', { kind: 'beneath', prefix: 'spiffe://td.test/' }],
    ['spiffe://td.test/team-a/**', { kind: 'beneath', prefix: 'spiffe://td.test/team-a/' }],
  ];
  for (const [text, pattern] of READ) {
    test(`${text} is read`, () => assert.deepEqual(parseSpiffeIdPattern(text), pattern));
  }

  const WRONG: readonly (readonly [text: string, message: RegExp])[] = [
    ['', /scheme is missing/],
    ['/**', /scheme is missing/],
    ['**', /scheme is missing/],
    ['*', /scheme is missing/],
    ['td.test/**', /scheme is missing/],
    ['https://td.test/a', /scheme is missing or invalid/],
    ['spiffe://', /trust domain is missing/],
    ['spiffe:///**', /trust domain is missing/],
    ['spiffe://**', /scheme is missing/],
    ['spiffe://*/a', /trust domain characters/],
    ['spiffe://*.test/**', /trust domain characters/],
    ['spiffe://TD.test/**', /trust domain characters/],
    ['spiffe://td.test', /no workload has the ID of a trust domain; all of them: spiffe:\/\/td\.test\/\*\*/],
    ['spiffe://td.test/', /end with a slash/],
    ['spiffe://td.test//**', /end with a slash/],
    ['spiffe://td.test/a*', /path segment characters/],
    ['spiffe://td.test/*', /path segment characters/],
    ['spiffe://td.test/a**', /path segment characters/],
    ['spiffe://td.test/a/***', /path segment characters/],
    ['spiffe://td.test/**/b', /path segment characters/],
    ['spiffe://td.test/**/**', /path segment characters/],
    ['spiffe://td.test/a/**/', /path segment characters/],
    ['spiffe://td.test/../**', /path|dot/],
    ['spiffe://td.test/a/**\n', /path segment characters/],
    ['spiffe://td.test/%61/**', /path segment characters/],
    [' spiffe://td.test/a', /scheme is missing/],
  ];
  for (const [text, message] of WRONG) {
    test(`${JSON.stringify(text)} is refused`, () =>
      assert.throws(() => parseSpiffeIdPattern(text), { code: 'spiffe_id_invalid', message }));
  }

  const MATCHES: readonly (readonly [pattern: string, yes: readonly string[], no: readonly string[]])[] = [
    [
      'spiffe://td.test/a',
      ['spiffe://td.test/a'],
      ['spiffe://td.test', 'spiffe://td.test/A', 'spiffe://td.test/a/b', 'spiffe://td.test/ab', 'spiffe://td/a'],
    ],
    [
      'spiffe://td.test/**',
      ['spiffe://td.test/a', 'spiffe://td.test/a/b/c'],
      ['spiffe://td.test', 'spiffe://td.test.evil/a', 'spiffe://other.test/a'],
    ],
    [
      'spiffe://td.test/a/**',
      ['spiffe://td.test/a/b', 'spiffe://td.test/a/b/c'],
      ['spiffe://td.test/a', 'spiffe://td.test/ab', 'spiffe://td.test/ab/c', 'spiffe://td.test/b/a/c'],
    ],
  ];
  for (const [pattern, yes, no] of MATCHES) {
    test(`${pattern} means what is there and nothing beside`, () => {
      for (const id of yes) assert.ok(matches(pattern, id), id);
      for (const id of no) assert.ok(!matches(pattern, id), id);
    });
  }
});

const segment = fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,5}$/);
const domain = fc.constantFrom('td.test', 'td.test.evil', 'td');
const idOf = (host: string, path: readonly string[]): string => [`spiffe://${host}`, ...path].join('/');

test('an ID is beneath another exactly when it has its trust domain, its segments and at least one more', () => {
  const paths = fc.array(segment, { maxLength: 3 });
  fc.assert(
    fc.property(domain, paths, domain, paths, fc.boolean(), (host, above, otherHost, path, isBeneath) => {
      const full = isBeneath ? [...above, ...path] : path;
      const inHost = isBeneath ? host : otherHost;
      const expected = host === inHost && full.length > above.length && above.every((one, at) => full[at] === one);
      assert.equal(matches(`${idOf(host, above)}/**`, idOf(inHost, full)), expected);
    }),
  );
});

test('an ID alone means itself only', () => {
  const path = fc.array(segment, { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(path, path, (one, other) => {
      assert.equal(matches(idOf('td.test', one), idOf('td.test', other)), one.join('/') === other.join('/'));
      assert.ok(matches(idOf('td.test', one), idOf('td.test', one)));
    }),
  );
});

test('any text is a pattern or refused, and never another error', () => {
  const part = fc.constantFrom('spiffe://', 'td.test', '/', '**', '*', 'a', '..', '.', '%2a', '\0', '?', '#');
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(part).map((parts) => parts.join('')),
      ),
      (text) => {
        try {
          const pattern = parseSpiffeIdPattern(text);
          const back = pattern.kind === 'exact' ? pattern.spiffeId : `${pattern.prefix}**`;
          assert.equal(back, text);
        } catch (error) {
          if (!(error instanceof SvidgateError) || error.code !== 'spiffe_id_invalid') throw error;
        }
      },
    ),
  );
});
