import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wholeTextRegex } from '../../../../src/offload/model/re2.ts';
import { bytesOf } from '../../../../src/offload/model/text-match.ts';

/** In UTF-8, and in Latin-1, where the two differ. */
const cases: readonly (readonly [pattern: string, bytes: string, utf8: boolean, latin1?: boolean])[] = [
  ['a.c', 'abc', true],
  ['a.c', bytesOf('aéc'), true, false],
  ['a.c', 'a\xffc', false, true],
  ['a.c', 'a\nc', false],
  ['(?s)a.c', 'a\nc', true],
  ['(?s:a.)c', 'a\nc', true],
  [String.raw`a\Cc`, 'a\xffc', true],
  ['[^a]*', bytesOf('é'), true],
  ['[^a]*', '\xff', false, true],
  ['[^é]', bytesOf('é'), false],
  ['[^é]', bytesOf('è'), true, false],
  ['é', bytesOf('é'), true],
  ['(?i)kelvin', 'Kelvin', true],
  ['(?i)k', bytesOf('\u212a'), true, false],
  ['x((?i)a)b', 'xAb', true],
  ['x((?i)a)b', 'xAB', false],
  ['[]a]+', ']a', true],
  [String.raw`[\d-]+`, '1-2', true],
  [String.raw`[^\s]+`, 'a b', false],
  ['[[:alpha:]]+', 'aB', true],
  [String.raw`\Qa.b\E+`, 'a.bb', true],
  ['a{2,3}', 'aaaa', false],
  ['a{,2}', 'a{,2}', true],
  [String.raw`\w+\b`, 'a_1', true],
  ['(?P<name>a|b)+', 'abab', true],
  [String.raw`\x41\x{42}`, 'AB', true],
  ['a|b', 'ab', false],
  ['', '', true],
];

test('a regex takes what RE2 takes, in UTF-8 and in Latin-1', () => {
  for (const [pattern, bytes, utf8, latin1 = utf8] of cases) {
    const found = [wholeTextRegex(pattern, 'utf8').test(bytes), wholeTextRegex(pattern, 'latin1').test(bytes)];
    assert.deepEqual(found, [utf8, latin1], `${pattern} of ${JSON.stringify(bytes)}`);
  }
});

test('what is not known to mean the same is refused', () => {
  for (const pattern of [
    String.raw`\pL`,
    '(?m)a',
    '(?i)é',
    String.raw`(?i)\w`,
    'a**',
    '(?=a)',
    'a)',
    '(a',
    '[a',
    String.raw`\1`,
  ]) {
    assert.throws(() => wholeTextRegex(pattern, 'utf8'), { code: 'unimplemented' }, pattern);
  }
});
