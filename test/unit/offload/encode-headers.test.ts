import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encodeRules, type HeaderTest, type OffloadSet } from '../../../src/offload/index.ts';
import { decodeMessage, RbacFilter, TypedExtensionConfig, unpackAny, type Any } from '../../../src/proto/index.ts';

const MAX = 2 ** 24;

/** The part of a decoded expression that is looked at here. */
interface Node {
  readonly id: unknown;
  readonly callExpr?: { readonly function: string; readonly args: readonly Node[] } | null;
  readonly constExpr?: { readonly stringValue?: string | null } | null;
  readonly selectExpr?: { readonly operand: Node; readonly field: string } | null;
  readonly identExpr?: { readonly name: string } | null;
}

function conditionOf(headers: readonly [HeaderTest, ...HeaderTest[]]): Node | null {
  const set: OffloadSet = {
    policy: 'p',
    policyDigest: 'd',
    allow: [{ id: 'r', request: { kind: 'always' }, peer: { kind: 'anyone', except: [] }, headers, origin: [] }],
  };
  const { typedConfig } = decodeMessage(TypedExtensionConfig, encodeRules(set).bytes, MAX);
  const filter = unpackAny(RbacFilter, typedConfig as Any, MAX);
  return (filter.shadowRules?.policies['r']?.condition ?? null) as Node | null;
}

/** As CEL is written; counts the nodes by their numbers. */
function textOf(node: Node, ids: Set<string>): string {
  assert.ok(!ids.has(String(node.id)) && String(node.id) !== '0', 'a number of its own');
  ids.add(String(node.id));
  if (node.identExpr) return node.identExpr.name;
  if (node.constExpr) return JSON.stringify(node.constExpr.stringValue);
  if (node.selectExpr) return `${textOf(node.selectExpr.operand, ids)}.${node.selectExpr.field}`;
  const { function: name, args } = node.callExpr ?? assert.fail('a node of no kind');
  const [one = '', other = ''] = args.map((each) => textOf(each, ids));
  if (name === '_[_]') return `${one}[${other}]`;
  return `(${one} ${name.replaceAll('_', '')} ${other})`;
}

describe('exact values of headers', () => {
  for (const { headers, text } of [
    { headers: [{ name: 'x-role', oneOf: ['admin'] }], text: '(request.headers["x-role"] == "admin")' },
    {
      headers: [{ name: 'x-role', oneOf: ['a', ''] }],
      text: '((request.headers["x-role"] == "a") || (request.headers["x-role"] == ""))',
    },
    {
      headers: [
        { name: 'x-a', oneOf: ['1'] },
        { name: 'x-b', oneOf: ['"2"'] },
        { name: 'x-c', oneOf: ['ä'] },
      ],
      text: String.raw`(((request.headers["x-a"] == "1") && (request.headers["x-b"] == "\"2\"")) && (request.headers["x-c"] == "ä"))`,
    },
  ] as const) {
    test(text, () => {
      const node = conditionOf(headers) ?? assert.fail('there is no condition');
      assert.equal(textOf(node, new Set()), text);
    });
  }

  test('an empty list is a defect, and no condition that holds', () => {
    assert.throws(() => conditionOf([] as never), { code: 'internal' });
    assert.throws(() => conditionOf([{ name: 'x-a', oneOf: [] as never }]), { code: 'internal' });
  });

  test('two hundred texts are a flat tree; more are left to the call', () => {
    const texts = Array.from({ length: 201 }, (_, index) => `${index}`) as unknown as readonly [string, ...string[]];
    assert.equal(conditionOf([{ name: 'x-a', oneOf: texts }]), null);
    const depth = (node: Node): number => 1 + Math.max(0, ...(node.callExpr?.args ?? []).map(depth));
    const rest = texts.slice(1) as unknown as readonly [string, ...string[]];
    assert.ok(depth(conditionOf([{ name: 'x-a', oneOf: rest }]) ?? assert.fail()) < 14);
  });
});
