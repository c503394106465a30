/** What a policy sees of paths and bodies is what Go's own packages read, or a refusal that docs/compatibility.md names. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../src/core/index.ts';
import { parsedBody } from '../../src/gate/body/parsed-body.ts';
import { parseTarget } from '../../src/gate/go-url.ts';
import { BUILD_LIMIT_MS } from '../support/conformance-client.ts';
import { parseExactly, startGoBodies, type GoBodies, type GoQuestion } from '../support/go-bodies.ts';

type Answer =
  { readonly refused: string } | { readonly refused?: undefined; readonly truncated: boolean; readonly value: unknown };

let go: GoBodies;

before(async () => (go = await startGoBodies()), { timeout: BUILD_LIMIT_MS });

after(() => go[Symbol.asyncDispose]());

async function askGo(questions: readonly GoQuestion[]): Promise<readonly Answer[]> {
  return (await go.ask(questions)).map((line) => parseExactly(line) as Answer);
}

function askOurs(question: GoQuestion): Answer {
  try {
    if (question.kind === 'target') {
      const { path, query } = parseTarget(question.body.toString('utf8'));
      return { truncated: false, value: { path, query: Object.fromEntries(query) } };
    }
    const headers = {
      ...(question.type === undefined ? {} : { 'content-type': question.type }),
      ...(question.length === undefined ? {} : { 'content-length': question.length }),
    };
    const { json, isTruncated } = parsedBody({ headers, body: '', rawBody: question.body }, []);
    return { truncated: isTruncated, value: parseExactly(json) };
  } catch (error) {
    assert.ok(error instanceof SvidgateError && error.code === 'invalid_request', String(error));
    return { refused: error.message };
  }
}

/** Refusals of ours that Go does not make. */
const STRICTER =
  /quoted-printable|ends inside the headers|encoded parameter|the content type of the body has|has too many lines|boundary that is too long/;

async function compare(questions: readonly GoQuestion[]): Promise<{ readonly read: number; readonly refused: number }> {
  const theirs = await askGo(questions);
  let read = 0;
  for (const [index, question] of questions.entries()) {
    const ours = askOurs(question);
    const expected = theirs[index]!;
    const what = JSON.stringify({ ...question, body: question.body.toString('latin1'), ours, expected });
    if (ours.refused !== undefined) {
      assert.ok(expected.refused !== undefined || STRICTER.test(ours.refused), what);
    } else {
      assert.deepEqual(ours, expected, what);
      read += 1;
    }
  }
  return { read, refused: questions.length - read };
}

function drawn(body: fc.Arbitrary<Omit<GoQuestion, 'kind'>>, count: number): readonly GoQuestion[] {
  return fc.sample(body, count).map((each) => ({ kind: 'body', ...each }));
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const lengths = fc.option(
  fc.constantFrom(
    '',
    '0',
    '7',
    '007',
    '+7',
    '-2',
    '-1',
    ' 7',
    '7,7',
    '7.0',
    '0x7',
    '7_0',
    '9223372036854775807',
    '9223372036854775808',
    '-9223372036854775809',
    '99999999999999999999999',
    '٣',
  ),
  { nil: undefined },
);
const withLength = (length: string | undefined): { readonly length?: string } =>
  length === undefined ? {} : { length };

describe('bodies and paths, as Go reads them', () => {
  test('JSON', async () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"a":1',
      'true',
      'null',
      'fals',
      '1',
      '-0',
      '1.50',
      '01',
      '1e400',
      '12345678901234567890',
      '1.',
      '.5',
      '+1',
      ' ',
      '\n',
      '\t',
      '\u000b',
      '"\\u0061"',
      '"\\ud800"',
      '"\\ud83d\\ude00"',
      '"\\ud800\\u0041"',
      '"\\\\ud800"',
      '"\\x"',
      '"\\u12"',
      '"\u0001"',
      '"\u007f"',
      '"\xc3\xa9"',
      '"\xff\xfe"',
      '"\xe2\x82"',
      '"',
      '\\',
      'NaN',
      '\xef\xbb\xbf',
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '{"__proto__":1}',
      '[[]]',
      '{"a":[1,{"b":2}]}',
    );
    const soup = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));
    const value = fc
      .jsonValue()
      .map((json) => Buffer.from(JSON.stringify(json, undefined, 1), 'utf8').toString('latin1'));
    const text = fc.oneof(
      soup,
      piece,
      value,
      value.chain((good) => fc.nat(good.length).map((at) => good.slice(0, at))),
    );
    const body = fc.record({ text, length: lengths }).map(({ text: drawnText, length }) => ({
      type: 'application/json',
      body: bytes(drawnText),
      ...withLength(length),
    }));
    const { read, refused } = await compare(drawn(body, 6000));
    assert.ok(read > 500 && refused > 500, `${read} read, ${refused} refused`);
    // Parsed without a reviver, which would go as deep in the stack.
    for (const [depth, isRead] of [
      [9999, true],
      [10_001, false],
      [100_000, false],
    ] as const) {
      const deep = bytes('['.repeat(depth) + ']'.repeat(depth));
      const [line] = await go.ask([{ kind: 'body', type: 'application/json', body: deep }]);
      assert.equal(!/"refused"/.test(line ?? ''), isRead);
      const ours = (): unknown =>
        parsedBody({ headers: { 'content-type': 'application/json' }, body: '', rawBody: deep }, []);
      if (isRead) ours();
      else assert.throws(ours, { code: 'invalid_request' });
    }
  });

  test('forms', async () => {
    const piece = fc.constantFrom(
      'a',
      'b',
      '=',
      '&',
      '+',
      '%20',
      '%c3%a9',
      '%ff',
      '%zz',
      '%',
      ';',
      '\xc3\xa9',
      '\xff',
      '__proto__',
      '[]',
      '%26',
      '%3d',
    );
    const body = fc
      .record({ pieces: fc.array(piece, { maxLength: 10 }), length: lengths })
      .map(({ pieces, length }) => ({
        type: 'text/plain; was=application/x-www-form-urlencoded',
        body: bytes(pieces.join('')),
        ...withLength(length),
      }));
    const { read, refused } = await compare(drawn(body, 4000));
    assert.ok(read > 500 && refused > 500, `${read} read, ${refused} refused`);
    const many = (count: number): GoQuestion => ({
      kind: 'body',
      type: 'application/x-www-form-urlencoded',
      body: bytes(Array.from({ length: count }, () => 'a').join('&')),
    });
    assert.deepEqual(await compare([many(10_000)]), { read: 1, refused: 0 });
    assert.deepEqual(await compare([many(10_001)]), { read: 0, refused: 1 });
  });

  test('multipart forms', async () => {
    const types = fc.constantFrom(
      'multipart/form-data; boundary=b',
      'multipart/form-data; boundary="b"',
      'Multipart/Form-Data ;\tBOUNDARY = b ; charset=utf-8;',
      'multipart/form-data',
      'multipart/form-data; boundary=',
      'multipart/form-data; boundary=""',
      'multipart/form-data; boundary=b; boundary=c',
      'multipart/form-data; boundary=b; boundary=b',
      'text/multipart/form-data; boundary=b',
      'multipart/form-data, x; boundary=b',
      'multipart/form-data; boundary="b',
      'multipart/form-data; boundary*0=b',
      'multipart/form-data; x; boundary=b',
    );
    const newline = fc.constantFrom('\r\n', '\r\n', '\r\n', '\n');
    const header = fc.constantFrom(
      'Content-Disposition: form-data; name="a"',
      'content-disposition:form-data;name=b',
      'Content-Disposition: form-data; name="a"; filename="x.json"',
      'Content-Disposition: attachment; name=a',
      'Content-Disposition: form-data; name=""',
      'Content-Disposition: form-data; name="\xc3\xa9\xff\\""',
      'Content-Disposition: form-data;\r\n\tname=folded',
      "Content-Disposition: form-data; name*=utf-8''x",
      'Content-Disposition : form-data; name=a',
      'Content-Type: application/json',
      'Content-Type: text/plain',
      'Content-Transfer-Encoding: quoted-printable',
      'Content-Transfer-Encoding: base64',
      'no colon',
      ': empty',
      'X-\xe9: y',
      'X: \x01',
      ' leading: space',
    );
    const content = fc.constantFrom(
      '',
      'text',
      '{"n": 1.50}',
      '[1',
      'line\r\nline',
      'line\nline',
      '\r\n',
      '--b',
      '--bb',
      '--b-',
      '\r\n--bx\r\n',
      '\xff\xc3\xa9',
      '--b--',
      '=3D',
    );
    const part = fc
      .tuple(fc.array(header, { maxLength: 3 }), content, newline)
      .map(([headers, text, nl]) => `${headers.map((each) => each + nl).join('')}${nl}${text}${nl}`);
    const goodPart = fc
      .tuple(fc.constantFrom('a', 'b'), fc.constantFrom('1', 'x\r\ny', '', '{}'))
      .map(([name, text]) => `Content-Disposition: form-data; name="${name}"\r\n\r\n${text}\r\n`);
    const good = fc
      .tuple(fc.array(goodPart, { maxLength: 4 }), fc.constantFrom('--b--', '--b--\r\n', '--b-- \t\r\n epilogue'))
      .map(([all, end]) => `${all.map((each) => `--b\r\n${each}`).join('')}${end}`);
    const soup = fc
      .tuple(
        fc.constantFrom('', 'preamble\r\n', '\r\n', '--x\r\n', `${'x'.repeat(5000)}\r\n`),
        fc.array(
          fc.tuple(
            fc.constantFrom('--b\r\n', '--b\r\n', '--b \t\r\n', '--b\n', '--bb\r\n', ''),
            fc.oneof(part, goodPart),
          ),
          { maxLength: 3 },
        ),
        fc.constantFrom('--b--\r\n', '--b--', '--b-', '--b', '', '--b--\n', '--b\r\n'),
      )
      .map(([before, parts, end]) => `${before}${parts.map((each) => each.join('')).join('')}${end}`);
    const text = fc.oneof(
      good,
      soup,
      soup,
      good.chain((whole) => fc.nat(whole.length).map((at) => whole.slice(0, at))),
    );
    const body = fc
      .record({
        type: fc.oneof({ weight: 3, arbitrary: fc.constant('multipart/form-data; boundary=b') }, types),
        text,
        length: lengths,
      })
      .map(({ type, text: drawnText, length }) => ({ type, body: bytes(drawnText), ...withLength(length) }));
    const { read, refused } = await compare(drawn(body, 12_000));
    assert.ok(read > 1000 && refused > 1000, `${read} read, ${refused} refused`);
  });

  test('paths and queries', async () => {
    const piece = fc.constantFrom(
      '/',
      'a',
      '%2f',
      '%2F',
      '..',
      '.',
      '//',
      '?',
      '&',
      '=',
      '+',
      '%20',
      '%c3%a9',
      '%ff',
      '%zz',
      '%',
      ';',
      'é',
      '\\',
      '#',
      '%00',
    );
    const target = fc
      .array(piece, { maxLength: 10 })
      .map((pieces): GoQuestion => ({ kind: 'target', body: Buffer.from(pieces.join('')) }));
    const { read, refused } = await compare(fc.sample(target, 5000));
    assert.ok(read > 500 && refused > 500, `${read} read, ${refused} refused`);
  });
});
