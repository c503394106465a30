import type { Random } from '../../hunt/random.ts';

/** JSON text of a decision, right, nearly right or wrong, for policies/answers.rego. */
export function answer(random: Random): string {
  if (random.oneIn(8))
    return random.pick([
      'true',
      'false',
      'null',
      '1',
      '"true"',
      '[]',
      '[true]',
      '{}',
      'tru',
      '',
      '{"allowed":true',
      '{"allowed":1}',
      '{"allowed":null}',
      '{"Allowed":true}',
    ]);
  const members = [`"allowed":${random.pick(['true', 'true', 'false', 'false', 'false', '"true"'])}`];
  for (const [key, oneIn, values] of FIELDS)
    if (random.oneIn(oneIn)) members.push(`${JSON.stringify(key)}:${random.pick(values)}`);
  return `{${members.join(',')}}`;
}

const HEADERS = [
  '{}',
  '{"x-a":"1"}',
  '{"X-A":"1","x-b":["2","3"]}',
  '[{"x-a":"1"},{"x-a":"2"}]',
  '[]',
  '{"x-a":[]}',
  '{"set-cookie":["a=1","b=2"]}',
  '{"x-a":1}',
  '{"x-a":[1]}',
  '"x-a: 1"',
  'null',
  '{"":"x"}',
  '{"x a":"1"}',
  '{"x-ü":"1"}',
  '{"x-a":"ü🙂"}',
  '{"x-a":"a\\nb"}',
  '{"x-a":"\\t "}',
  '{":path":"/x"}',
  '{"Host":"x"}',
  '{"content-length":"3"}',
  '{"x-envoy-retry-on":"5xx"}',
  '{"content-type":"text/plain"}',
  '{"location":"/login"}',
];

const NAMES = [
  '[]',
  '["x-a"]',
  '["X-A","x-b"]',
  '["host"]',
  '[":path"]',
  '["x-envoy-retry-on"]',
  '["x a"]',
  '[1]',
  '"x-a"',
  'null',
  '{}',
];

/** Field by field: how often, and what for. */
const FIELDS: readonly (readonly [key: string, oneIn: number, values: readonly string[]])[] = [
  ['headers', 2, HEADERS],
  ['response_headers_to_add', 4, HEADERS],
  ['request_headers_to_remove', 4, NAMES],
  ['query_parameters_to_remove', 4, ['[]', '["q","ü"]', '[1]', '"q"']],
  [
    'query_parameters_to_set',
    4,
    ['{}', '{"q":"1"}', '{"q":["1","2"]}', '{"a b":"c&d=e f"}', '{"q":1}', '[]', '{"q":"%20#"}', '{"q":"a\\nb"}'],
  ],
  [
    'http_status',
    2,
    [
      '200',
      '204',
      '301',
      '302',
      '400',
      '401',
      '403',
      '404',
      '429',
      '500',
      '503',
      '418',
      '451',
      '0',
      '99',
      '600',
      '1000',
      '-1',
      '403.0',
      '403.0',
      '403.0',
      '403.5',
      '4.03e2',
      '"403"',
      'null',
      '9007199254740993',
    ],
  ],
  ['body', 2, ['""', '"no"', '"ü\\u0000\\n"', '{"a":1}', 'null', '7']],
  [
    'dynamic_metadata',
    3,
    [
      '{}',
      '{"a":1,"b":[true,null,"x",{"c":{}}]}',
      '{"decision_id":"mine","policy":"mine","reason":"mine"}',
      '{"n":12345678901234567890,"e":1e400}',
      '{"e":1e21,"m":-0.0,"s":1e-9}',
      '[]',
      'null',
      '"x"',
      '{"__proto__":{"a":1}}',
    ],
  ],
  ['id', 8, ['"mine"']],
  ['unknown', 8, ['{"x":1}']],
];
