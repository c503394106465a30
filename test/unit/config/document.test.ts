import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  choiceField,
  durationField,
  formatMistake,
  integerField,
  listField,
  optionalField,
  parseYamlDocument,
  sectionField,
  textField,
} from '../../../src/config/index.ts';

const description = '';
const schema = sectionField(
  {
    name: textField({ description, expected: 'a name' }),
    wait: durationField({ description, min: '1s', max: '1h', default: '5s' }),
    size: integerField({ description, min: 1, max: 9, default: 3 }),
    colour: choiceField(['red', 'green'], { description, default: 'red' }),
    tags: optionalField(
      listField(textField({ description, expected: 'a tag' }), { description, expected: 'a list of tags', min: 1 }),
    ),
    inner: sectionField({ depth: integerField({ description, min: 0, max: 5, default: 0 }) }, { description }),
  },
  { description },
);

function mistakesOf(text: string): string[] {
  const parsed = parseYamlDocument({ text, file: 'f.yaml', schema });
  return (parsed.mistakes ?? []).map(formatMistake);
}

test('a right document gives its values with the defaults filled in', () => {
  const parsed = parseYamlDocument({ text: 'name: a\nwait: 1m\ntags: [x, y]\n', file: 'f.yaml', schema });
  assert.deepEqual(parsed.value, {
    name: 'a',
    wait: 60_000,
    size: 3,
    colour: 'red',
    tags: ['x', 'y'],
    inner: { depth: 0 },
  });
});

test('a value can be found in the text again', () => {
  const text = 'name: a\ntags:\n  - x\n  - y\ninner: {depth: 2}\n';
  const parsed = parseYamlDocument({ text, file: 'f.yaml', schema });
  assert.ok(parsed.mistakes === undefined);
  for (const [path, line, column] of [
    [['name'], 1, 7],
    [['tags', 1], 4, 5],
    [['inner', 'depth'], 5, 16],
    [['inner', 'absent'], 5, 1],
    [['absent'], 1, 1],
    [[], 1, 1],
  ] as const) {
    assert.deepEqual(parsed.placeOf(path), { line, column }, JSON.stringify(path));
  }
});

test('each kind of mistake is told with its place and what would be right', () => {
  const cases: readonly (readonly [text: string, ...mistakes: string[]])[] = [
    ['', 'f.yaml:1:1: the document is empty: expected a mapping with keys such as `name`'],
    ['# only this\n', 'f.yaml:1:1: the document is empty: expected a mapping with keys such as `name`'],
    ['- a\n', 'f.yaml:1:1: the document is a list: expected a mapping with keys such as `name`'],
    ['text', 'f.yaml:1:1: the document is "text": expected a mapping with keys such as `name`'],
    ['size: 2\n', 'f.yaml:1:1: missing key `name`: expected a name'],
    ['name: a\nsise: 2\n', 'f.yaml:2:1: unknown key `sise`: did you mean `size`?'],
    ['name: a\ncolor: red\n', 'f.yaml:2:1: unknown key `color`: did you mean `colour`?'],
    ['name: a\nNAME: b\n', 'f.yaml:2:1: unknown key `NAME`: did you mean `name`?'],
    ['name: a\ndepth: 2\n', 'f.yaml:2:1: unknown key `depth`: did you mean `inner.depth`?'],
    ['name: a\ninner: {zzz: 2}\n', 'f.yaml:2:9: unknown key `inner.zzz`: the keys here are `depth`'],
    ['name: a\nname: b\n', 'f.yaml:2:1: duplicate key `name`: keep one of them'],
    ['name: a\n__proto__: {x: 1}\n', 'f.yaml:2:1: key `__proto__` is not allowed: remove it'],
    ['name: a\nwait: 5\n', 'f.yaml:2:7: `wait` is the number 5: expected a duration from 1s to 1h, such as 5s'],
    ['name: a\nwait: 5x\n', 'f.yaml:2:7: `wait` is "5x": a duration is written such as 24h, 1h30m or 100ms'],
    ['name: a\nwait: 2h\n', 'f.yaml:2:7: `wait` is "2h": expected a duration from 1s to 1h, such as 5s'],
    ['name: a\nsize: 10\n', 'f.yaml:2:7: `size` is the number 10: expected a whole number from 1 to 9'],
    ['name: a\nsize: 1.5\n', 'f.yaml:2:7: `size` is the number 1.5: expected a whole number from 1 to 9'],
    ['name: a\nsize: .nan\n', 'f.yaml:2:7: `size` is the number NaN: expected a whole number from 1 to 9'],
    ['name: a\nsize: "2"\n', 'f.yaml:2:7: `size` is "2": expected a whole number from 1 to 9'],
    ['name: a\ncolour: blue\n', 'f.yaml:2:9: `colour` is "blue": expected one of `red`, `green`'],
    ['name: true\n', 'f.yaml:1:7: `name` is true: expected a name'],
    ['name:\n', 'f.yaml:1:1: `name` is empty: expected a name'],
    ['name: a\ntags: []\n', 'f.yaml:2:7: `tags` is an empty list: expected a list of tags'],
    ['name: a\ntags:\n  - x\n  - {y: 1}\n', 'f.yaml:4:5: `tags[1]` is a mapping: expected a tag'],
    ['name: a\ninner:\n', 'f.yaml:2:1: `inner` is empty: expected a mapping with keys such as `depth`'],
    ['name: *x\n', 'f.yaml:1:7: alias `*x` has no anchor before it: write the value'],
    ['name: &x [*x]\n', 'f.yaml:1:11: alias `*x` has no anchor before it: write the value'],
    ['name: !secret a\n', 'f.yaml:1:7: not valid YAML: Unresolved tag: !secret: leave the tag out'],
    [
      '? [a]\n: b\n',
      'f.yaml:1:3: not valid YAML: With stringKeys, all keys must be strings: write the key as plain text',
    ],
    ['name: a\n\tsize: 1\n', 'f.yaml:2:1: not valid YAML: Tabs are not allowed as indentation: indent with spaces'],
    [
      '[',
      'f.yaml:1:2: not valid YAML: Flow sequence must end with a ]: close what was opened, or add the missing space or colon',
    ],
    ['['.repeat(100_000), 'f.yaml:1:1: nested too deeply: use at most 64 levels'],
    [`name: ${'['.repeat(70)}${']'.repeat(70)}`, 'f.yaml:1:70: nested too deeply: use at most 64 levels'],
  ];
  for (const [text, ...mistakes] of cases) assert.deepEqual(mistakesOf(text), mistakes, text.slice(0, 60));
});

test('all mistakes of a document are told at once, in the order of the text', () => {
  assert.deepEqual(mistakesOf('wait: 5\nsize: 0\nsize: 1\nfoo: 1\ninner: { depth: 9, dept: 1 }\r\n'), [
    'f.yaml:1:1: missing key `name`: expected a name',
    'f.yaml:1:7: `wait` is the number 5: expected a duration from 1s to 1h, such as 5s',
    'f.yaml:2:7: `size` is the number 0: expected a whole number from 1 to 9',
    'f.yaml:3:1: duplicate key `size`: keep one of them',
    'f.yaml:4:1: unknown key `foo`: the keys here are `name`, `wait`, `size`, `colour`, `tags`, `inner`',
    'f.yaml:5:17: `inner.depth` is the number 9: expected a whole number from 0 to 5',
    'f.yaml:5:20: unknown key `inner.dept`: did you mean `depth`?',
  ]);
});

test('aliases repeat a value but cannot blow up', () => {
  const parsed = parseYamlDocument({ text: 'name: &n a\ntags: [*n, *n]\n', file: 'f.yaml', schema });
  assert.deepEqual(parsed.value?.tags, ['a', 'a']);
  let bomb = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
  for (let level = 1; level < 12; level += 1) {
    bomb += `a${level}: &a${level} [${Array(10)
      .fill(`*a${level - 1}`)
      .join(', ')}]\n`;
  }
  const started = performance.now();
  assert.match(mistakesOf(bomb).join('\n'), /aliases repeat too much/);
  assert.ok(performance.now() - started < 1000);
});

test('ten thousand keys in one mapping take time linear in them', () => {
  const text = Array.from({ length: 10_000 }, (_, index) => `k${index}: 1`).join('\n');
  const started = performance.now();
  assert.equal(mistakesOf(text).length, 10_001);
  assert.ok(performance.now() - started < 5000);
});

test('no key of a document reaches Object.prototype', () => {
  for (const text of [
    '__proto__: {polluted: 1}',
    'constructor: {prototype: {polluted: 1}}',
    'name: {"__proto__": 1}',
  ]) {
    assert.ok(mistakesOf(text).length > 0, text);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  }
});

test('any text gives a value or mistakes with places in the text, never an exception', () => {
  const piece = fc.constantFrom(
    'name', 'size', ': ', '\n', '  ', '- ', '[', ']', '{', '}', ',', '&a ', '*a', '!t ', '|', '>', '"', "'", '#', '? ',
    '---\n', '...\n', '%YAML 1.1\n', '<<', '\t', '\r\n', '1', 'null', '~', '__proto__', '\u0000', '\u{1F600}', '\uFEFF',
  ); // prettier-ignore
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join('')),
  );
  fc.assert(
    fc.property(text, (value) => {
      const parsed = parseYamlDocument({ text: value, file: 'f.yaml', schema });
      const lineCount = value.split('\n').length;
      for (const { line, column, message, remedy } of parsed.mistakes ?? []) {
        assert.ok(line >= 1 && line <= lineCount && column >= 1, `${line}:${column}`);
        assert.ok(message !== '' && remedy !== '');
      }
    }),
    { numRuns: 2000 },
  );
});
