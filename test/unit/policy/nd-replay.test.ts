/** An evaluation made again with what builtins answered before. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { silentLogger, systemClock } from '../../../src/core/index.ts';
import { NETWORK_BUILTINS, OFFERED_BUILTINS } from '../../../src/policy/builtins/offered.ts';
import type { Evaluation, NdBuiltinCache } from '../../../src/policy/evaluation.ts';
import { Evaluator } from '../../../src/policy/evaluator.ts';
import type { LoadedModule } from '../../../src/policy/evaluator-protocol.ts';
import { createPolicyNetwork } from '../../../src/policy/network/policy-network.ts';
import { createRegoCompiler } from '../../../src/policy/rego-compiler.ts';
import { startHttpStandIn, type HttpStandIn } from '../../support/http-stand-in.ts';
import { json, load, never } from './support.ts';

const REGO = `package test
default now := 0
now := time.now_ns() if input.now
default late := "unknown"
late := time.now_ns() % 7 == 0 if input.late
dice[i] := rand.intn(sprintf("d%d", [i]), 1000000) if some i in input.dice
ids[k] := uuid.rfc4122(k) if some k in input.ids
sent[p] := {"code": r.status_code, "body": r.body} if {
  some p in input.paths
  r := http.send({"url": concat("", [input.base, p]), "method": "GET", "headers": {"b": "1", "a": "2"}, "raise_error": false})
}
default names := "none"
names := net.lookup_ip_addr(input.name)
default token := ""
token := io.jwt.encode_sign({"alg": "ES256"}, {"iss": input.iss}, KEY)
allow := {"now": now, "late": late, "dice": dice, "ids": ids, "sent": sent, "names": names, "token": token,
  "text": format_int(now, 10)}
`;

let loaded: LoadedModule;
let server: HttpStandIn;
let requests = 0;
let live: Evaluator;
let offline: Evaluator;

before(async () => {
  const builtins = [...OFFERED_BUILTINS, ...NETWORK_BUILTINS];
  const { privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign']);
  const key = await crypto.subtle.exportKey('jwk', privateKey);
  const compiler = createRegoCompiler({ clock: systemClock, builtins, timeLimitMs: 60_000 });
  loaded = await load(REGO.replace('KEY', JSON.stringify(key)), '{}', compiler);
  server = await startHttpStandIn({
    answer(request, response) {
      requests += 1;
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ path: request.url, count: requests }));
    },
  });
  const rules = {
    allow: [
      { scheme: 'http', hostname: '127.0.0.1', isSuffix: false, port: server.port },
      { scheme: 'http', hostname: 'localhost', isSuffix: false, port: server.port },
    ],
    timeoutMs: 5000,
    maxResponseBytes: 100_000,
    maxInFlight: 10,
    cacheBytes: 0,
  } as const;
  const network = createPolicyNetwork(rules, { clock: systemClock });
  const parts = { clock: systemClock, logger: silentLogger, queueLimit: 100 };
  live = await Evaluator.start(loaded, { ...parts, network }, never);
  const refused = { fault: 'asked all the same', reason: 'refused' } as const;
  const nobody = { responseCacheBytes: 0, exchange: () => Promise.resolve(refused), close: () => undefined };
  offline = await Evaluator.start(loaded, { ...parts, network: nobody }, never);
});
after(async () => {
  await Promise.all([live.close(), offline.close()]);
  await server[Symbol.asyncDispose]();
});

const within = (): { readonly deadline: number } => ({ deadline: Date.now() + 10_000 });
const replay = (input: unknown, nd: NdBuiltinCache): Promise<Evaluation> =>
  offline.evaluate(json(input), { ...within(), nd });

const question = fc.record({
  now: fc.boolean(),
  late: fc.boolean(),
  dice: fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 3 }),
  ids: fc.uniqueArray(fc.string({ unit: 'grapheme', maxLength: 5 }), { maxLength: 3 }),
  paths: fc.uniqueArray(fc.constantFrom('/a', '/b', '/c?x=1'), { maxLength: 2 }),
  name: fc.constantFrom('localhost', undefined),
  iss: fc.constantFrom('a "quoted" \\ name', undefined),
});

describe('an evaluation that asked the clock, chance and the network', () => {
  test('gives the same value again with what it got', async () => {
    let asked = 0;
    await fc.assert(
      fc.asyncProperty(question, async (given) => {
        const input = { ...given, base: `http://127.0.0.1:${server.port}` };
        const first = await live.evaluate(json(input), within());
        assert.equal(first.kind, 'value');
        asked += Object.keys(first.nd ?? {}).length;
        const before = requests;
        // As a record has it.
        const nd = JSON.parse(JSON.stringify(first.nd ?? {})) as NdBuiltinCache;
        assert.deepEqual(await replay(input, nd), { kind: 'value', value: first.value });
        assert.equal(requests, before);
      }),
      { numRuns: 60 },
    );
    assert.ok(asked > 60);
  });

  test('is an error when an answer is missing', async () => {
    const input = {
      now: true,
      dice: [1],
      ids: ['a'],
      paths: ['/a'],
      base: `http://127.0.0.1:${server.port}`,
      iss: 'x',
    };
    const first = await live.evaluate(json(input), within());
    assert.ok(first.kind === 'value' && first.nd !== undefined);
    assert.deepEqual(Object.keys(first.nd).toSorted(), [
      'http.send',
      'io.jwt.encode_sign',
      'rand.intn',
      'time.now_ns',
      'uuid.rfc4122',
    ]);
    for (const name of Object.keys(first.nd)) {
      const { [name]: _, ...less } = first.nd;
      const second = await replay(input, less);
      assert.deepEqual([second.kind, 'message' in second && second.message.includes(name)], ['error', true], name);
    }
    // What another evaluation asked is no answer to this one.
    assert.equal((await replay({ ...input, ids: ['b'] }, first.nd)).kind, 'error');
    assert.deepEqual(await replay(input, first.nd), { kind: 'value', value: first.value });
  });

  test('has the time to the nanosecond', async () => {
    const nd = { 'time.now_ns': { '[]': '1755555555123456789' } };
    const { kind, ...rest } = await replay({ now: true, dice: [], ids: [], paths: [] }, nd);
    assert.equal(kind, 'value');
    assert.ok('value' in rest);
    assert.equal((rest.value as { text: string }).text, '1755555555123456789');
  });

  test('recalls a call that had no value', async () => {
    const input = { dice: [], ids: [], paths: [], name: 'nowhere.invalid' };
    const nd = { 'net.lookup_ip_addr': { '["nowhere.invalid"]': '' } };
    assert.deepEqual(((await replay(input, nd)) as { value?: { names: unknown } }).value?.names, 'none');
    const found = { 'net.lookup_ip_addr': { '["nowhere.invalid"]': '["10.0.0.1", "10.0.0.2"]' } };
    const { value } = (await replay(input, found)) as { value?: { names: unknown } };
    assert.deepEqual(value?.names, ['10.0.0.1', '10.0.0.2']);
  });

  test('asks for nothing where the policy does not', async () => {
    const evaluation = await live.evaluate(json({ dice: [], ids: [], paths: [] }), within());
    assert.equal(evaluation.kind, 'value');
    assert.ok(!('nd' in evaluation));
  });
});
