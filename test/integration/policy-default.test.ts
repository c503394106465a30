/** The shipped policy: its own Rego tests, and the compiled module against an independent reading of its rules. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { decide } from '../../src/policy/decision.ts';
import { Evaluator } from '../../src/policy/evaluator.ts';
import { createRegoCompiler } from '../../src/policy/rego-compiler.ts';
import type { PolicySnapshot } from '../../src/policy/snapshot-source.ts';
import { readSnapshot } from '../../src/policy/snapshot.ts';

const never = new AbortController().signal;
const compiler = createRegoCompiler({ clock: systemClock });
const WEB = 'spiffe://prod.acme.test/web';
const ORDERS = 'spiffe://prod.acme.test/orders';
const PEERS = [WEB, ORDERS, 'spiffe://other.test/web', ''];
const RULES = [
  { from: [WEB], to: [ORDERS], methods: ['GET'], paths: ['/', '/orders', '/orders/*', '/files/**'] },
  { from: [ORDERS, WEB], to: [WEB], methods: ['POST', 'PUT'], paths: ['/a/*/c', '/hook/'] },
];

interface Input {
  readonly method: unknown;
  readonly path: string;
  readonly verified: unknown;
  readonly peer: unknown;
  readonly kind: unknown;
  readonly callers: unknown;
}

let snapshot: PolicySnapshot;
let evaluator: Evaluator;
before(async () => {
  snapshot = await readSnapshot(fileURLToPath(new URL('../../policies/rego', import.meta.url)));
  const data = { 'data.json': JSON.stringify({ rules: RULES }) };
  const entrypoint = 'envoy/authz/allow';
  const built = await compiler.build({ modules: snapshot.files.modules, data }, entrypoint, never);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  assert.deepEqual(built.warnings, []);
  const loaded = {
    module: await WebAssembly.compile(built.wasm),
    entrypoint,
    data: new TextEncoder().encode(built.data),
  };
  evaluator = await Evaluator.start(loaded, { clock: systemClock, logger: silentLogger, queueLimit: 100 }, never);
});
after(() => evaluator.close());

async function isAllowed(document: unknown): Promise<boolean> {
  const bytes = new TextEncoder().encode(JSON.stringify(document));
  const evaluation = await evaluator.evaluate(bytes, { deadline: Date.now() + 10_000 });
  return decide({ policy: 'default', digest: '' }, evaluation).effect === 'allow';
}

function segmentsOf(path: string): string[] {
  return decodeURIComponent(path.split('?')[0] ?? '')
    .replace(/^\/+/, '')
    .split('/');
}

function documentOf(input: Input): unknown {
  return {
    attributes: { request: { http: { method: input.method, path: input.path } }, source: { principal: WEB } },
    parsed_path: segmentsOf(input.path),
    parsed_query: {},
    svidgate: {
      peer: { verified: input.verified, spiffe_id: input.peer },
      caller: { kind: input.kind, spiffe_ids: input.callers },
      policy: 'default',
    },
  };
}

/** The same rules, read without Rego: characters of the raw path and regular expressions instead of segments. */
function oracle({ method, path, verified, peer, kind, callers }: Input): boolean {
  const raw = path.split('?')[0] ?? '';
  const segments = raw.split('/').slice(1);
  const isPlain =
    raw.startsWith('/') &&
    !raw.includes('\\') &&
    !/[;#\ufffd]/.test(raw) &&
    !/%(2f|5c|2e|25|3b|23|3f|[01].|7f|c0|c1|ef%bf%bd)/i.test(raw) &&
    segments.every(
      (segment, i) => (segment !== '' || i === segments.length - 1) && segment !== '.' && segment !== '..',
    );
  if (!isPlain || verified !== true || kind !== 'attested' || !Array.isArray(callers)) return false;
  const decoded = decodeURIComponent(raw);
  return RULES.some(
    (rule) =>
      rule.from.some((id) => id === peer) &&
      rule.to.some((id) => callers.includes(id)) &&
      rule.methods.some((name) => name === method) &&
      rule.paths.some((pattern) => toRegExp(pattern).test(decoded)),
  );
}

function toRegExp(pattern: string): RegExp {
  const parts = pattern.split('/').slice(1);
  const source = parts.map((part) => (part === '**' ? '(/.*)?' : part === '*' ? '/[^/]+' : `/${part}`)).join('');
  return new RegExp(`^${source}$`, 's');
}

test('its own tests pass', async () => {
  const modules = { ...snapshot.files.modules, ...snapshot.tests };
  const result = await compiler.test({ modules, data: snapshot.files.data }, never);
  assert.ok(result.kind === 'ran', JSON.stringify(result));
  assert.ok(result.tests.length >= 15);
  for (const { name, outcome, error, failedCases } of result.tests) {
    assert.equal(outcome, 'pass', `${name}: ${error ?? ''} ${failedCases?.join(', ') ?? ''}`);
  }
});

test('as shipped it has no rules', () => {
  assert.match(snapshot.files.data['data.yaml'] ?? '', /^rules: \[\]$/m);
});

const segment = fc.constantFrom(
  'orders',
  'files',
  'a',
  'c',
  'hook',
  '7',
  '',
  '.',
  '..',
  '%2e',
  '%41',
  '%2F',
  '*',
  '**',
  'é',
);
const path = fc.oneof(
  { weight: 4, arbitrary: fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`) },
  { weight: 2, arbitrary: fc.constantFrom('/', '/orders', '/orders/7', '/files/a', '/files/a/', '/a/7/c', '/hook/') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '',
      'orders',
      '//orders',
      '/orders\\7',
      '/files/;x',
      '/orders?a=/../b',
      '/files/%00',
      '/files/a#b',
      '/files/%3f',
    ),
  },
);
const proven = { verified: true, kind: 'attested' };
const nearlyAllowed: fc.Arbitrary<Input> = fc.oneof(
  path.map((each) => ({ ...proven, method: 'GET', path: each, peer: WEB, callers: [ORDERS] })),
  path.map((each) => ({ ...proven, method: 'PUT', path: each, peer: ORDERS, callers: [ORDERS, WEB] })),
);
const anything: fc.Arbitrary<Input> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'get', null),
  path,
  verified: fc.constantFrom(true, true, true, false, null, 'true', 1),
  peer: fc.constantFrom(WEB, WEB, ...PEERS, null),
  kind: fc.constantFrom('attested', 'attested', 'attested', 'anonymous', null),
  callers: fc.constantFrom([ORDERS], [ORDERS], [WEB], [ORDERS, WEB], [], ORDERS, null),
});

describe('the compiled policy', () => {
  test('allows exactly what an independent reading of the rules allows', async () => {
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(nearlyAllowed, anything), async (each) => {
        const expected = oracle(each);
        if (expected) allowed += 1;
        assert.equal(await isAllowed(documentOf(each)), expected);
      }),
      { numRuns: 3000 },
    );
    assert.ok(allowed > 100, `only ${allowed} of the cases were allowed ones`);
  });

  test('allows no document of another shape', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 4 }), async (document) => {
        assert.equal(await isAllowed(document), false);
      }),
      { numRuns: 500 },
    );
  });

  test('allows nothing once any part of an allowed document is gone or of another type', async () => {
    const good = { method: 'GET', path: '/orders', verified: true, peer: WEB, kind: 'attested', callers: [ORDERS] };
    assert.equal(await isAllowed(documentOf(good)), true);
    const read = [
      ['attributes', 'request', 'http', 'method'],
      ['attributes', 'request', 'http', 'path'],
      ['parsed_path'],
      ['svidgate', 'peer', 'verified'],
      ['svidgate', 'peer', 'spiffe_id'],
      ['svidgate', 'caller', 'kind'],
      ['svidgate', 'caller', 'spiffe_ids'],
    ];
    for (const keys of read) {
      for (let depth = 1; depth <= keys.length; depth += 1) {
        for (const value of [undefined, null, false, 0, '', 'x', [], {}, [[]]]) {
          const document = structuredClone(documentOf(good)) as Record<string, unknown>;
          let at = document;
          for (const key of keys.slice(0, depth - 1)) at = at[key] as Record<string, unknown>;
          at[keys[depth - 1] as string] = value;
          assert.equal(
            await isAllowed(document),
            false,
            `${keys.slice(0, depth).join('.')} = ${JSON.stringify(value)}`,
          );
        }
      }
    }
  });
});
