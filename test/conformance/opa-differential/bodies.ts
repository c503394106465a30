import type { Random } from '../../hunt/random.ts';

export interface Body {
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: { readonly body?: string; readonly rawBody?: Uint8Array };
}

/** A body with headers that fit it, mostly. */
export function body(random: Random): Body {
  if (random.oneIn(4)) return { headers: {}, parts: {} };
  const [type, text] = random.pick([json, json, json, form, form, multipart, other])(random);
  const length = Buffer.byteLength(text);
  const headers = {
    'content-type': random.oneIn(15)
      ? random.pick([
          '',
          'text/plain',
          'Application/JSON',
          'multipart/form-data',
          'text/plain; was=application/json',
          'application/grpc',
        ])
      : type,
    ...(random.oneIn(3)
      ? {
          'content-length': random.oneIn(4)
            ? random.pick(['', ' 7', '7,7', 'x', '-1', '+5', String(length + 3), '99999999999999999999'])
            : String(length),
        }
      : {}),
    ...(random.oneIn(8) ? { 'x-envoy-auth-partial-body': random.pick(['true', 'false', 'false', 'True']) } : {}),
  };
  return { headers, parts: random.oneIn(4) ? { rawBody: Buffer.from(text) } : { body: text } };
}

const NUMBERS = [
  '0',
  '-0',
  '1',
  '2.50',
  '100',
  '1000.01',
  '9007199254740993',
  '12345678901234567890',
  '12345678901234567891',
  '-1e3',
  '1e21',
  '1E+2',
  '0.1',
  '0.30000000000000004',
  '1e-7',
  '123456789012345678901234567890.5',
];

function json(random: Random): readonly [string, string] {
  const number = (): string => random.pick(NUMBERS);
  const item = (): string => random.pick([`{"price":${number()}}`, '{"name":"x"}', '{"price":2}', '{"price":0.1}']);
  const texts = [
    () =>
      `{"account":${number()},"amount":${number()},"currency":"EUR","items":[${item()},${item()}],"total":${number()}}`,
    () => `{"amount":${number()},"items":[],"total":0,"blocked":${random.pick(['true', 'false', 'null', '"no"'])}}`,
    () => `{"numbers":[${number()},${number()},${number()}]}`,
    () => `{"numbers":[${number()},${number()}]}`,
    () =>
      `{"limits":{"rate":${number()}},"tags":${random.pick(['["a"]', '["c","a"]', '[]', '"a"'])},"owner":{"name":"é"}}`,
    () => `{"limits":7,"a":{"b":{"c":[1,2]}}}`,
    () => nestedJson(random, 1 + random.below(9)),
    () => `{"allowed":${random.pick(['true', 'false', '"true"', '1'])}}`,
    () =>
      random.pick([
        '[1,2]',
        '"text"',
        'null',
        'true',
        '12',
        '""',
        '{}',
        '[]',
        ' {"a" : 1 } ',
        '',
        ' ',
        '{"a":1} x',
        '{"a":1,"a":2}',
        "{'a':1}",
        '{"a":01}',
        '{"a":1e999}',
        '{"\\ud800":"\\udfff"}',
        '{"__proto__":{"x":1},"constructor":2}',
        '\ufeff{}',
        '{"a":NaN}',
        '[1,]',
        '{"\\u0000":"\\u0000"}',
      ]),
  ];
  return [
    random.pick([
      'application/json',
      'application/json',
      'application/json; charset=utf-8',
      'text/x; application/json',
    ]),
    random.pick(texts)(),
  ];
}

function nestedJson(random: Random, depth: number): string {
  if (depth === 0) return random.pick(['"good"', '"bad"', '1', 'null', 'true', '""']);
  return random.oneIn(2)
    ? `[${nestedJson(random, depth - 1)},"good"]`
    : `{"${random.pick(['a', 'b', 'ü', '/'])}":${nestedJson(random, depth - 1)}}`;
}

function form(random: Random): readonly [string, string] {
  const fields = [
    'user=alice',
    'user=alice',
    'scope=orders',
    'scope=orders&scope=people',
    'user=bob',
    'a=%C3%BC',
    'a=b+c',
    'x',
    '=y',
    'x=%zz',
    'a;b=1',
    'q=%00',
    '__proto__=x',
    'ü=ö',
  ];
  return [
    'application/x-www-form-urlencoded',
    Array.from({ length: random.below(4) }, () => random.pick(fields)).join('&'),
  ];
}

function multipart(random: Random): readonly [string, string] {
  const part = (): string =>
    random.pick([
      'content-disposition: form-data; name="user"\r\n\r\nalice',
      'Content-Disposition: form-data; name="scope"\r\n\r\norders',
      'content-disposition: form-data; name=scope; filename="a b.txt"\r\ncontent-type: text/plain\r\n\r\nline\r\nline',
      'content-disposition: form-data; name="user"\r\ncontent-type: application/json\r\n\r\n{"n":12345678901234567890}',
      'content-disposition: form-data; name="user"\r\ncontent-type: application/json\r\n\r\nno json',
      'content-disposition: form-data; name="ü"\r\n\r\n\u{1f642}',
      'content-disposition: attachment; name="user"\r\n\r\nbob',
      'content-type: text/plain\r\n\r\nnameless',
      'content-disposition: form-data; name="q"\r\ncontent-transfer-encoding: quoted-printable\r\n\r\n=41',
      "content-disposition: form-data; name*=utf-8''user\r\n\r\nalice",
    ]);
  const parts = Array.from({ length: random.below(4) }, () => `--limit\r\n${part()}\r\n`).join('');
  const end = random.pick(['--limit--\r\n', '--limit--\r\n', '--limit--', '', '--limit\r\ncontent-disposition: form']);
  return [
    random.pick([
      'multipart/form-data; boundary=limit',
      'multipart/form-data; boundary="limit"',
      'multipart/form-data; boundary=other',
    ]),
    parts + end,
  ];
}

function other(random: Random): readonly [string, string] {
  return [
    random.pick(['text/plain', 'application/octet-stream', 'application/vnd.api+json', 'image/png']),
    random.pick(['{"a":1}', 'text', '']),
  ];
}
