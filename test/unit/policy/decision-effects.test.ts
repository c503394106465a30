import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { readAnswer } from '../../../src/policy/decision-effects.ts';

const NOTHING = {
  headers: [],
  requestHeadersToRemove: [],
  queryParametersToSet: [],
  queryParametersToRemove: [],
  responseHeadersToAdd: [],
};

describe('readAnswer', () => {
  test('reads every field of an allow, with lists in the order of names', () => {
    const answer = readAnswer({
      allowed: true,
      headers: { 'x-b': 'b', 'X-A': ['2', '1'], 'x-a': '3' },
      response_headers_to_add: [{ 'x-c': 'c2' }, { 'x-c': 'c1', 'x-b': [] }],
      request_headers_to_remove: ['z', 'a'],
      query_parameters_to_set: { q: ['1', '2'], p: '' },
      query_parameters_to_remove: ['r'],
      dynamic_metadata: { a: { b: [1, null] } },
    });
    assert.deepEqual(answer, {
      kind: 'allow',
      effects: {
        headers: [
          { name: 'X-A', value: '2' },
          { name: 'X-A', value: '1' },
          { name: 'x-a', value: '3' },
          { name: 'x-b', value: 'b' },
        ],
        responseHeadersToAdd: [
          { name: 'x-c', value: 'c2' },
          { name: 'x-c', value: 'c1' },
        ],
        requestHeadersToRemove: ['z', 'a'],
        queryParametersToSet: [
          { name: 'p', value: '' },
          { name: 'q', value: '1' },
          { name: 'q', value: '2' },
        ],
        queryParametersToRemove: ['r'],
        dynamicMetadata: { a: { b: [1, null] } },
      },
    });
  });

  test('reads every field of a deny', () => {
    const answer = readAnswer({
      allowed: false,
      headers: { a: 'b' },
      body: '',
      http_status: 429,
      dynamic_metadata: {},
    });
    const effects = { headers: [{ name: 'a', value: 'b' }], body: '', httpStatus: 429, dynamicMetadata: {} };
    assert.deepEqual(answer, { kind: 'deny', effects });
  });

  test('does not look at fields of the other branch, nor at keys it does not know', () => {
    const allow = { allowed: true, body: 1, http_status: 'x', id: 7, unknown: [] };
    assert.deepEqual(readAnswer(allow), { kind: 'allow', effects: NOTHING });
    const deny = {
      allowed: false,
      request_headers_to_remove: 1,
      response_headers_to_add: 2,
      query_parameters_to_set: 3,
    };
    assert.deepEqual(readAnswer(deny), { kind: 'deny', effects: { headers: [] } });
  });

  const wrong: readonly { readonly answer: unknown; readonly message: string }[] = [
    { answer: { allowed: 'true' }, message: '`allowed` is a string, not a boolean' },
    { answer: { allowed: null }, message: '`allowed` is null, not a boolean' },
    { answer: { allow: true }, message: 'the decision has no `allowed`' },
    { answer: [true], message: 'the decision is an array' },
    { answer: Object.create({ allowed: true }) as unknown, message: 'the decision is an object' },
    ...[
      { headers: 'a', message: '`headers` has a string where an object or a list of objects is expected' },
      { headers: { a: 1 }, message: '`headers["a"]` has a number where a string or a list of strings is expected' },
      {
        headers: { a: ['b', null] },
        message: '`headers["a"]` has null where a string or a list of strings is expected',
      },
      {
        headers: [{ a: 'b' }, 'c'],
        message: '`headers` has a string where an object or a list of objects is expected',
      },
    ].flatMap(({ headers, message }) => [
      { answer: { allowed: true, headers }, message },
      { answer: { allowed: false, headers }, message },
    ]),
    {
      answer: { allowed: true, response_headers_to_add: null },
      message: '`response_headers_to_add` has null where an object or a list of objects is expected',
    },
    {
      answer: { allowed: true, request_headers_to_remove: 'a' },
      message: '`request_headers_to_remove` has a string where a list of strings is expected',
    },
    {
      answer: { allowed: true, query_parameters_to_remove: [1] },
      message: '`query_parameters_to_remove` has a number where a list of strings is expected',
    },
    {
      answer: { allowed: true, query_parameters_to_set: [{ a: 'b' }] },
      message: '`query_parameters_to_set` has an array where an object is expected',
    },
    {
      answer: { allowed: true, dynamic_metadata: [] },
      message: '`dynamic_metadata` has an array where an object is expected',
    },
    {
      answer: JSON.parse('{"allowed":true,"dynamic_metadata":{"a":[{"b":-1e400}]}}') as unknown,
      message: '`dynamic_metadata` has a number beyond 64-bit floating point',
    },
    { answer: { allowed: false, body: {} }, message: '`body` has an object where a string is expected' },
    {
      answer: { allowed: false, http_status: '403' },
      message: '`http_status` has a string where a number is expected',
    },
    ...[418, 425, 451, 306, 0, -1, 599, 403.5].map((status) => ({
      answer: { allowed: false, http_status: status },
      message: `\`http_status\` is ${status}, which is no status that Envoy can send`,
    })),
  ];
  for (const { answer, message } of wrong) {
    test(`refuses ${JSON.stringify(answer)}`, () => {
      assert.deepEqual(readAnswer(answer), { kind: 'wrong_type', message });
    });
  }

  test('allows nothing but true and an object of its own that says so, whatever else it has', () => {
    const mutation = fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.array(fc.string()))));
    const keys = ['headers', 'response_headers_to_add', 'request_headers_to_remove', 'dynamic_metadata', 'http_status'];
    const object = fc.record({
      allowed: fc.oneof(fc.boolean(), fc.jsonValue()),
      rest: fc.dictionary(fc.constantFrom(...keys), mutation),
    });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything(),
          object.map(({ allowed, rest }) => ({ ...rest, allowed })),
        ),
        (value) => {
          const { kind } = readAnswer(value);
          if (kind !== 'allow') return;
          assert.ok(value === true || (typeof value === 'object' && value !== null && Object.hasOwn(value, 'allowed')));
          if (value !== true) assert.equal((value as { readonly allowed: unknown }).allowed, true);
        },
      ),
    );
  });
});
