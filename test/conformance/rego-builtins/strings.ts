/** Expressions on strings, patterns, encodings and the parsers of small languages. */
import { calls, texts } from './compare.ts';

const ODD = ['input.no', 'input.n', 'input.a', 'input.o'];
const STRINGS = [
  ...texts('', 'a', 'aXbXc', 'ÄÖ ß', '日本語', '😀x', ' \t x\u00a0\u2003', 'a\u0000b', 'İıΣς', '\u2028"\\'),
  'input.s',
];

export const STRING_EXPRESSIONS: readonly string[] = [
  ...['lower', 'upper', 'trim_space', 'strings.reverse', 'count'].flatMap((name) => calls(name, [...STRINGS, ...ODD])),
  ...['contains', 'startswith', 'endswith', 'indexof', 'indexof_n', 'split', 'strings.count'].flatMap((name) =>
    calls(name, STRINGS, texts('', 'X', '本', 'x')),
  ),
  ...['trim', 'trim_left', 'trim_right', 'trim_prefix', 'trim_suffix'].flatMap((name) =>
    calls(name, STRINGS, texts('', 'a', 'xß語', '\u2003')),
  ),
  ...calls('replace', STRINGS, texts('', 'X', 'x'), texts('', '$1\\')),
  ...calls('strings.replace_n', ['{"a": "b", "b": "a"}', '{"": "-"}', 'input.o', '{}'], STRINGS),
  ...calls('strings.split_n', texts('a,b,c', '', 'aa'), texts(',', '', 'a'), ['0', '1', '2', '-1', '1.5', '99']),
  ...calls(
    'strings.any_prefix_match',
    ['"abc"', '["x", "abc"]', 'set()', 'input.a'],
    ['"ab"', '{"z", "ab"}', '[""]', 'input.o'],
  ),
  ...calls(
    'strings.any_suffix_match',
    ['"abc"', '["x", "abc"]', 'set()', 'input.a'],
    ['"bc"', '{"z", "bc"}', '[""]', 'input.o'],
  ),
  ...calls('substring', STRINGS, ['0', '1', '-1', '99', '1.0'], ['-1', '2', '9223372036854775807']),
  ...calls(
    'concat',
    ['"/"', '""', '"\\"é"', 'input.n'],
    ['["a", "b"]', '{"b", "a", "é", "10"}', '[]', 'set()', 'input.empty.o', 'input.a'],
  ),
  ...calls('sprintf', texts('%s', '%d|%v', '%5.2f|%x', '%q', '%%', '%!', '%t', '%08b', '%[2]v', '%v %v %v', '%e|%c'), [
    '[1, 2]',
    '["é", {1, 2}]',
    '[2.5, "x", null]',
    '[18446744073709551616, true]',
    '[{"a": [1, {"b": "c"}]}]',
    '[]',
    'input.a',
  ]),
  ...calls(
    'strings.render_template',
    texts('{{.k}}', '{{range .l}}{{.}},{{end}}', '{{.missing}}', '{{', '{{printf "%s" .k}}'),
    ['{"k": "<v>", "l": [1, "x"]}', 'input.o'],
  ),
];

const PATTERNS = texts(
  '',
  'a',
  '^a.c$',
  '[a-z]+',
  '(?i)ABC',
  '\\d+',
  '(a|b)(c)?',
  '(',
  '[',
  'a{1001}',
  '(?=a)',
  '\\pL+',
  '(?P<n>.)',
  '.*?b',
  '\\C',
);
const SUBJECTS = texts('', 'abc', 'ABC abc', 'aXbXc', '日本語9', 'a\nb', 'ac bc b');
const GLOBS = texts('', '*', '**', 'a.*.com', '{a,b}*', '?', '[a-c]', '[!a]*', '\\*', '[', '*.com', 'a/**/b');

export const PATTERN_EXPRESSIONS: readonly string[] = [
  ...calls('regex.match', PATTERNS, SUBJECTS),
  ...calls('regex.is_valid', [...PATTERNS, ...ODD]),
  ...calls('regex.find_n', PATTERNS, texts('abc', 'ac bc b'), ['-1', '1', '0', '1.5']),
  ...calls('regex.find_all_string_submatch_n', PATTERNS, texts('abc', 'ac bc b'), ['-1', '1']),
  ...calls('regex.replace', SUBJECTS, texts('a', '(?P<n>b)', '('), texts('-', '$n$1$$', '${n}x')),
  ...calls('regex.split', PATTERNS, SUBJECTS),
  ...calls('regex.globs_match', texts('a.*', '[a-c]+', '', 'x'), texts('.*b', '[b-d]+', '', '(')),
  ...calls(
    'regex.template_match',
    texts('urn:{.*}', 'a{[0-9]+}b', '{'),
    texts('urn:x', 'a12b', ''),
    texts('{'),
    texts('}', ''),
  ),
  ...calls('glob.match', GLOBS, ['null', '[]', '["."]', '["/", ":"]'], texts('', 'a', 'a.b.com', 'a/x/b', '*')),
  ...calls('glob.quote_meta', [...GLOBS, ...ODD]),
];

const BASE64 = texts(
  '',
  'YWJj',
  'YWJ',
  'YWI=',
  'YWI',
  'YWJj\n',
  '/+8=',
  '_-8=',
  '_-8',
  '=',
  'Y===',
  'é',
  'AA==',
  'YR==',
);
const VERSIONS = texts(
  '',
  '1.2.3',
  '1.2.3-rc.1+b',
  'v1.2.3',
  '02.0.0',
  '1.2',
  '1.2.3-01',
  '1.10.0',
  '99999999999999999999.0.0',
  '-1.0.0',
);
const URIS = texts(
  '',
  'http://u:p@h:8080/p%2fq?q=1&r#f',
  '//h/p',
  '/p?a;b',
  'mailto:a@b',
  'http://[::1]:80/',
  'http://h:x/',
  '%zz',
  'http://h/ä b',
  'http://a b/',
  ':',
  'HTTP://H/',
);
const QUERIES = texts('', 'a=b&c=%20d', 'a+b', '%zz', 'a=1&a=2&b', 'a;b=1', 'é=%C3%A9', '%', '&&=&', '%00=\u0000');
const UUIDS = texts(
  '',
  '00112233-4455-6677-8899-aabbccddeeff',
  'urn:uuid:2d931510-d99f-494a-8c67-87feb05e1594',
  '{2d931510-d99f-494a-8c67-87feb05e1594}',
  '2d931510d99f494a8c6787feb05e1594',
  '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
  '6ba7b810-9dad-21d1-80b4-00c04fd430c8',
  'x',
);

export const ENCODING_EXPRESSIONS: readonly string[] = [
  ...['base64.decode', 'base64.is_valid', 'base64url.decode'].flatMap((name) => calls(name, [...BASE64, ...ODD])),
  ...['base64.encode', 'base64url.encode', 'base64url.encode_no_pad', 'hex.encode'].flatMap((name) =>
    calls(name, STRINGS),
  ),
  'base64.encode(base64.decode("/w=="))',
  'hex.encode(hex.decode("ff00fe"))',
  'crypto.sha256(base64.decode("//79"))',
  'count(urlquery.decode("%ff%fe"))',
  ...calls('hex.decode', [...texts('', '61', '6', 'zz', 'FFff', ' 61'), ...ODD]),
  ...calls('semver.compare', VERSIONS, texts('1.2.3', '1.2.3-rc.2', '2.0.0')),
  ...calls('semver.is_valid', [...VERSIONS, ...ODD]),
  ...calls('uri.parse', URIS),
  ...calls('uri.is_valid', URIS),
  ...['urlquery.decode', 'urlquery.encode', 'urlquery.decode_object'].flatMap((name) =>
    calls(name, [...QUERIES, ...ODD]),
  ),
  ...calls('urlquery.encode_object', ['{}', '{"a": "b c", "é": ["1", "2"]}', '{"s": {"y", "x"}}', 'input.o']),
  ...calls('uuid.parse', [...UUIDS, ...ODD]),
  'uuid.rfc4122("x") == uuid.rfc4122("x")',
  'uuid.rfc4122("x") == uuid.rfc4122("y")',
  ...calls('graphql.is_valid', texts('{a}', '{b}', 'x'), texts('type Query { a: String }', 'type')),
  ...calls('graphql.parse', texts('{a}', 'x'), texts('type Query { a: String }')),
  ...calls('graphql.parse_and_verify', texts('{a}', '{b}'), texts('type Query { a: String }')),
  ...calls('graphql.parse_query', texts('{a(x: 1) { b }}', '{')),
  ...calls('graphql.parse_schema', texts('type Query { a: String }', 'x')),
  ...calls('graphql.schema_is_valid', texts('type Query { a: String }', 'type Query { a: Z }', 'x')),
];

const NETWORKS = texts(
  '10.0.0.0/8',
  '10.1.2.3',
  '10.1.2.3/32',
  '::ffff:10.1.2.3',
  '::ffff:10.0.0.0/104',
  '2001:db8::/32',
  '::/0',
  '0.0.0.0/0',
  '256.1.1.1',
  '10.0.0.0/33',
  '010.0.0.1',
  'fe80::1%eth0',
  '',
);

export const NETWORK_EXPRESSIONS: readonly string[] = [
  ...calls('net.cidr_contains', NETWORKS, [...NETWORKS, 'input.no']),
  ...calls('net.cidr_intersects', NETWORKS, NETWORKS),
  ...calls('net.cidr_is_valid', [...NETWORKS, ...ODD]),
  ...calls('net.cidr_expand', texts('10.0.0.0/29', '10.1.2.3/32', '2001:db8::/126', '10.1.2.3', '::ffff:10.0.0.0/126')),
  ...calls('net.cidr_merge', [
    '[]',
    '["10.0.0.0/9", "10.128.0.0/9"]',
    '{"10.1.2.3", "192.0.2.1"}',
    '["::1", "10.0.0.0/8"]',
    '["x"]',
    'input.a',
  ]),
  ...calls(
    'net.cidr_contains_matches',
    ['"10.0.0.0/8"', '["10.0.0.0/8", "::/0"]', '{"k": "10.0.0.0/8"}', '{["10.0.0.0/8", 1]}', 'input.a'],
    ['"10.1.2.3"', '["::ffff:10.1.2.3", "2001:db8::1"]', '{"z": ["10.9.9.9", {2}]}', '{"x"}'],
  ),
  'providers.aws.sign_req({"method": "get", "url": "https://b.s3.amazonaws.com/x?y=z", "headers": {"a": "b"}}, {"aws_access_key": "K", "aws_secret_access_key": "S", "aws_service": "s3", "aws_region": "us-east-1"}, 1755555555123456789)',
  'providers.aws.sign_req({"method": "get"}, {}, 1)',
];
