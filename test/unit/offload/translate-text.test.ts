import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { joinPaths, pathMatches, segmentIs, type PathShape } from '../../../src/offload/translate/path-shape.ts';
import {
  fitsEnvoy,
  isPrintableRegex,
  isSimpleRegex,
  quoteRegex,
  repeatsIn,
  searchRegex,
} from '../../../src/offload/translate/text-match.ts';
import { matchesText } from '../../../src/offload/index.ts';

const printable = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) });

describe('regexes', () => {
  test('a quoted text matches itself and nothing else', () => {
    fc.assert(
      fc.property(printable, printable, (text, other) => {
        const match = { kind: 'regex', regex: quoteRegex(text) } as const;
        assert.equal(matchesText(match, text), true);
        assert.equal(matchesText(match, other), text === other);
      }),
    );
  });

  test('what is searched for matches the whole text where the search finds it', () => {
    const pieces = [
      'a',
      'b',
      '.',
      '^',
      '$',
      '|',
      '(',
      ')',
      '(?:',
      '*',
      '+',
      '?',
      '[ab]',
      '[^a]',
      '\\d',
      '\\.',
      '/',
      'x',
    ];
    const pattern = fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((each) => each.join(''));
    const text = fc.array(fc.constantFrom('a', 'b', '.', '/', '1', 'x'), { maxLength: 6 }).map((each) => each.join(''));
    let taken = 0;
    fc.assert(
      fc.property(pattern, fc.array(text, { minLength: 8, maxLength: 8 }), (searched, texts) => {
        const regex = searchRegex(searched);
        if (regex === undefined) return;
        taken += 1;
        for (const each of texts) {
          const found = new RegExp(searched, 'su').test(each);
          assert.equal(matchesText({ kind: 'regex', regex }, each), found, `${searched} ${regex} ${each}`);
        }
      }),
      { numRuns: 3000 },
    );
    assert.ok(taken > 300, `${taken} patterns`);
  });

  for (const pattern of [
    'a)|(?:b',
    '\\Qa',
    '(?P<a>b)',
    'a{2}',
    '[[:alpha:]]',
    'é',
    '(?s)a',
    'a\\',
    '*a',
    'a**',
    '(',
    '\\C',
    '(?i)(?s)a',
    '[^]',
    '[]a]',
    '[^]a]',
  ]) {
    test(`${pattern} is not taken apart`, () => {
      assert.equal(searchRegex(pattern), undefined);
    });
  }

  // As Envoy 1.40 counts them.
  const repeats: readonly (readonly [regex: string, count: number])[] = [
    ['(?:spiffe://td[.]test/ns/[a-z]+/sa/[a-z-]+)', 2],
    ['[ -~]*(?:admin)[ -~]*', 2],
    [String.raw`\*\?[*+?]\(?:a`, 1],
    ['spiffe://[^/]*/[^/]*/sa/.*', 1],
    ['.*[^/]*/[^/]*/sa', 2],
    ['.*[^/]*/.*[^/]*/.*a', 4],
  ];
  for (const [regex, count] of repeats) {
    test(`places to come back to: ${count} in ${regex}`, () => {
      assert.equal(repeatsIn(regex), count);
      assert.equal(isSimpleRegex(regex), count <= 3);
    });
  }

  const sizes: readonly (readonly [regex: string, size: number])[] = [
    [`/${'a'.repeat(60)}`, 65],
    ["(?:[!-%'-~]*&){1,12}[!-%'-~]*", 64],
    ['(?:/[!-.0-~]*){0,8}', 37],
    [String.raw`/(?:[!"$&-.0->@-~][!"$&->@-~]*)?(?:\?(?:[!"$&-:<-~]|%[0-9A-Fa-f]{2})*)?`, 28],
    ['(?i:ksksksks)', 12],
  ];
  for (const [regex, size] of sizes) {
    test(`a program of ${size} fits: ${regex.slice(0, 30)}`, () => {
      assert.equal(fitsEnvoy(regex), true);
    });
  }

  for (const regex of ["(?:[!-%'-~]*&){1,20}[!-%'-~]*", 'a'.repeat(100), '[^a]'.repeat(12), '(?:ab{30}){4}']) {
    test(`a larger one does not: ${regex.slice(0, 30)}`, () => {
      assert.equal(fitsEnvoy(regex), false);
    });
  }

  test('which of them match printable ASCII alone', () => {
    const of = (regexes: readonly string[]): readonly boolean[] => regexes.map(isPrintableRegex);
    assert.deepEqual(of(['abc', '[ -~]*', '[a.]', '\\.', '\\\\']), [true, true, true, true, true]);
    assert.deepEqual(of(['a.', '[^a]', '\\W', '(?i:k)', '\\s']), [false, false, false, false, false]);
  });
});

describe('paths in their segments', () => {
  const segment = fc.constantFrom('', 'a', 'b', 'a.b', 'x-y');
  const path = fc
    .array(segment, { minLength: 1, maxLength: 4 })
    .map((all) => `/${all.join('/')}`)
    .filter((text) => !text.startsWith('//'));
  const wanted = fc.record({
    index: fc.integer({ min: 0, max: 3 }),
    match: fc.oneof(
      segment.map((text) => ({ kind: 'exact', text }) as const),
      fc.constant({ kind: 'filled' } as const),
    ),
  });
  const count = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 5 }));

  test('the matchers of a shape are its meaning', () => {
    fc.assert(
      fc.property(
        fc.array(wanted, { maxLength: 3 }),
        fc.option(count),
        fc.array(path, { minLength: 12, maxLength: 12 }),
        (all, between, paths) => {
          const [low, more] = between ?? [1, 5];
          const counted: PathShape = { segments: {}, atLeast: low, ...(more === 5 ? {} : { atMost: low + more }) };
          const parts = [counted, ...all.map(({ index, match }) => segmentIs(index, match))];
          const joined = joinPaths(parts.map((shape) => ({ kind: 'path', shape })));
          for (const each of paths) {
            const segments = each.slice(1).split('/');
            const isMeant =
              segments.length >= low &&
              (more === 5 || segments.length <= low + more) &&
              all.every(({ index, match }) =>
                match.kind === 'exact' ? segments[index] === match.text : (segments[index] ?? '') !== '',
              );
            const isMatched = joined.every((formula) => {
              if (formula.kind !== 'path') return formula.kind !== 'false';
              return pathMatches(formula.shape)!.every((match) => holds(match, each));
            });
            assert.equal(isMatched, isMeant, `${each} ${JSON.stringify(joined)}`);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  type Match = NonNullable<ReturnType<typeof pathMatches>>[number];
  function holds(match: Match, text: string): boolean {
    if (match.kind === 'path') return matchesText(match.match, text);
    return match.kind === 'any' && match.of.some((each) => holds(each, text));
  }
});
