/** Expressions on numbers, collections and documents. */
import { calls, texts } from './compare.ts';

const ODD = ['input.no', 'input.yes', 'input.a', 'input.o', 'input.s'];
const NUMBERS = ['0', '1', '-7', '2.5', '-0.5', '1e21', '0.1', '9007199254740993', '18446744073709551616', 'input.n'];
const BITS = ['0', '1', '-1', '255', '-256', '9007199254740993', '1.5', 'input.s'];

export const NUMBER_EXPRESSIONS: readonly string[] = [
  ...['abs', 'ceil', 'floor', 'round'].flatMap((name) => calls(name, [...NUMBERS, 'input.s'])),
  ...['+', '-', '*', '/', '%'].flatMap((operator) =>
    NUMBERS.flatMap((x) => ['3', '-0.2', '9223372036854775807'].map((y) => `${x} ${operator} ${y}`)),
  ),
  '1 / input.empty.n',
  '7 / 0',
  '7 % 0',
  '{1, 2, 3} - {2}',
  ...calls('bits.and', BITS, ['3', '-9']),
  ...calls('bits.or', BITS, ['3', '-9']),
  ...calls('bits.xor', BITS, ['3']),
  ...calls('bits.negate', BITS),
  ...calls('bits.lsh', BITS, ['0', '70', '-1']),
  ...calls('bits.rsh', BITS, ['0', '3', '-1']),
  ...calls('format_int', NUMBERS, ['2', '8', '10', '16', '7']),
  ...calls('0 + to_number', [...texts('', '12', '-3.5', '1e3', '0x1F', '1_000', '+5', '007', ' 7', '٣'), ...ODD]),
  ...calls('sum', ['[]', '[1, 2.5, 1e-7]', '{0.1, 0.2}', '[9223372036854775807, 1]', 'input.a']),
  ...calls('product', ['[]', '[1, 2.5, 1e-7]', '{0.1, 0.2}', '[9223372036854775807, 3]', 'input.a']),
  ...['max', 'min', 'sort', 'count'].flatMap((name) =>
    calls(name, ['[]', '[3, "a", null, {1}]', '{2, 1.5}', 'input.s']),
  ),
  ...calls('numbers.range', ['0', '5', '-2', '1.5'], ['3', '-3']),
  ...calls('numbers.range_step', ['0', '10'], ['5', '-5'], ['2', '0', '-1', '1.5']),
  ...calls(
    'units.parse',
    texts('', '10', '10K', '10Ki', '1.5G', '100m', '-5M', '1e3', 'K', '10KiB', '1 0', '10k', '0.0001m'),
  ),
  ...calls(
    'units.parse_bytes',
    texts('', '10', '10KB', '10KiB', '1.5GB', '100m', '-5MB', '1e3', 'KB', '10kb', '1 0', '3E'),
  ),
  'rand.intn("x", 1)',
  'rand.intn("x", 1000) == rand.intn("x", 1000)',
  'rand.intn("x", 0)',
  'rand.intn("y", 1.5)',
];

const SUBSETS = [
  '{}',
  '{"a": 1}',
  '{"a": {"b": {1, 2}}, "c": [1, 2, 3]}',
  '[1, 2, 3]',
  '{1, 2, 3}',
  'set()',
  'input.o',
];
const DOCUMENT = '{"a": {"b": [1, {"c": null}], "x/y": 2.50, "": 0}, "é": {1, 2}}';
const PATHS = [
  '[]',
  '["a"]',
  '["a/b"]',
  '["a/b/1/c"]',
  '[["a", "b", 0]]',
  '{"é"}',
  '["a/x~1y"]',
  '[[]]',
  '[""]',
  '["/a"]',
];

export const DOCUMENT_EXPRESSIONS: readonly string[] = [
  ...calls('object.subset', SUBSETS, SUBSETS),
  ...calls('object.get', [DOCUMENT], ['"a"', '"z"', '["a", "b", 1]', '[]'], ['"default"']),
  ...calls('object.filter', [DOCUMENT], ['["a"]', '{"é"}', '{"a": 1}', '[]']),
  ...calls('object.remove', [DOCUMENT], ['["a"]', '{"é"}', '{"a": 1}', '[]']),
  ...calls('object.keys', [DOCUMENT, '{}', '{1: 2, {3}: 4}', 'input.a']),
  ...calls('object.union', [DOCUMENT, '{}'], ['{"a": {"b": 1}}', '{"z": set()}']),
  ...calls('object.union_n', ['[]', '[{"a": 1}, {"a": {"b": 2}}, {"a": {"c": 3}}]', 'input.a']),
  ...calls('json.filter', [DOCUMENT], PATHS),
  ...calls('json.remove', [DOCUMENT], PATHS),
  ...['add', 'replace', 'test', 'remove', 'move', 'copy', 'bad'].flatMap((op) =>
    ['"/a"', '"/a/b/0"', '"/a/b/-"', '"/a/x~1y"', '["a", "b"]', '"a/b/9"', '"/é/1"'].map(
      (path) => `json.patch(${DOCUMENT}, [{"op": "${op}", "path": ${path}, "from": "/a/b/0", "value": {"n": {3}}}])`,
    ),
  ),
  ...calls('graph.reachable', ['{"a": ["b"], "b": {"c"}, "c": [], "d": ["a"]}'], ['["a"]', '{"d", "z"}', 'set()']),
  ...calls('graph.reachable_paths', ['{"a": ["b"], "b": {"c", "a"}, "c": []}'], ['["a"]', '{"b", "z"}', 'set()']),
  ...calls(
    'array.slice',
    ['[1, 2, 3]'],
    ['0', '-1', '2', '9223372036854775807'],
    ['1', '3', '99', '-9223372036854775808'],
  ),
  ...calls('array.concat', ['[1]', '[]', 'input.s'], ['[{2}]', 'input.o']),
  ...calls('array.flatten', ['[1, [2, [3, {4}]], []]', 'input.a']),
  ...calls('array.reverse', ['[1, {2}, null]', '[]', 'input.o']),
  ...calls('union', ['{{1}, {2, "a"}}', 'set()']),
  ...calls('intersection', ['{{1, 2}, {2, "a"}}', 'set()']),
  '{1, 2} & {2, 3}',
  '{1, 2} | {2, 3.0}',
  '[[path, value] | walk({"a": [1, {2}]}, [path, value])]',
  ...['is_array', 'is_boolean', 'is_null', 'is_number', 'is_object', 'is_set', 'is_string', 'type_name'].flatMap(
    (name) => calls(name, [...ODD, 'input.n', '{1}']),
  ),
  ...['1', '{1}', '"a"', '[1]', 'input.o'].flatMap((x) => ['1.0', '"b"', '[1, 2]', 'null'].map((y) => `${x} < ${y}`)),
  '1 == 1.0',
  '[1, {2}] != [1.0, {2.0}]',
  '0.1 + 0.2 >= 0.3',
  '"é" in {"é"}',
  '"v", 1 in {"v": 1}',
];

const JSON_TEXTS = texts(
  '',
  '{}',
  '{"a":[1,2.50,"x"]}',
  '{} x',
  '[1,]',
  '"\\ud83d\\ude00\\u0000"',
  '"\\ud800"',
  '1e400',
  '01',
  '-0',
  'nul',
  '{"a":1,"a":2}',
  ' \n[12345678901234567890.123456789]\t',
  '"a\tb"',
  "{'a':1}",
  '\ufeff{}',
  '[1] // c',
  '{"<": "&>\u2028"}',
);
const YAML_TEXTS = texts(
  '',
  'a: 1',
  'a: [1, 2]\nb: {c: d}',
  'a: 1\na: 2',
  '- 010\n- 0o10\n- 1_000\n- yes\n- ~',
  'x: &x 1\ny: *x',
  '---\na\n---\nb',
  'a: !!binary YQ==',
  '{"a": 1}',
  '\ta: 1',
  'd: 2020-01-01',
  '1: 2',
  '? {a: 1}\n: 2',
  'é: "\\xe9"',
);
const SCHEMAS = [
  '{"type": "object", "required": ["k"]}',
  '{"type": "strin"}',
  '"{\\"type\\": \\"integer\\"}"',
  '"not json"',
  '{"$ref": "http://127.0.0.1:1/x"}',
];

export const TEXT_FORM_EXPRESSIONS: readonly string[] = [
  ...calls('json.unmarshal', [...JSON_TEXTS, ...ODD]),
  ...calls('json.is_valid', [...JSON_TEXTS, ...ODD]),
  ...calls('json.marshal', [
    DOCUMENT,
    '"<a href=\\"x\\">&\\u2028é"',
    '{{1}: set()}',
    '{1: 2, null: 3}',
    '1e2',
    '18446744073709551616',
    ...ODD,
  ]),
  ...calls(
    'json.marshal_with_options',
    [DOCUMENT, '[]', 'input.o'],
    ['{}', '{"pretty": true}', '{"indent": "  ", "prefix": ">"}', 'input.o'],
  ),
  ...calls('json.match_schema', ['{"k": 1}', '{}', '"{\\"k\\": 1}"', '"x"'], SCHEMAS),
  ...calls('json.verify_schema', SCHEMAS),
  ...calls('yaml.unmarshal', YAML_TEXTS),
  ...calls('yaml.is_valid', [...YAML_TEXTS, ...ODD]),
  ...calls('yaml.marshal', [DOCUMENT, '"yes"', '"1e3"', '[1.5, null, "a\\nb"]', '12345678901234567890', ...ODD]),
  ...calls('rego.parse_module', ['"a.rego"'], ['"package a\\nallow if true"', '"package"']),
  'rego.metadata.rule()',
  'trace("note")',
];
