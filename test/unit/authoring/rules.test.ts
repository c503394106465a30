/** Rules files: the Rego that they become, its tests, and what is refused. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { rulesToYaml, translateRules } from '../../../src/authoring/index.ts';
import { fitsRule, type RuleRequest } from '../../../src/authoring/rule-model.ts';
import { parseRules } from '../../../src/authoring/rules-schema.ts';
import type { RuleSet } from '../../../src/authoring/rules.ts';
import { formatMistake } from '../../../src/config/index.ts';
import { systemClock } from '../../../src/core/index.ts';
import { pathSource } from '../../../src/policy/path-source.ts';
import { exactBuffer, instantiatePolicy } from '../../../src/policy/policy-instance.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { compiler, json, never } from '../policy/support.ts';
import { inputOf, requests, ruleSets } from './arbitraries.ts';

type Policy = NonNullable<Awaited<ReturnType<typeof translateRules>>['policy']>;

async function policyOf(rules: RuleSet): Promise<Policy> {
  const text = rulesToYaml(rules);
  const translated = await translateRules(text, 'rules.yaml');
  assert.ok(translated.policy !== undefined, `${translated.mistakes?.map(formatMistake).join('\n')}\n${text}`);
  return translated.policy;
}

async function deciderOf({ modules, entrypoint }: Policy): Promise<(request: RuleRequest) => unknown> {
  const built = await compiler.build({ modules, data: {} }, entrypoint, never);
  assert.ok(built.kind === 'built', JSON.stringify(built));
  assert.deepEqual(built.warnings, []);
  const source = { module: await WebAssembly.compile(built.wasm), data: json({}), entrypoint };
  const policy = instantiatePolicy({ ...source, limits: { recycleBytes: 2 ** 28, maxBytes: 2 ** 29 } });
  return (request) => policy.evaluate(exactBuffer(json(inputOf(request))))[0]?.result;
}

/** What a set says: some rule allows, and none denies. */
function allows({ rules }: RuleSet, request: RuleRequest): boolean {
  const fits = (action: string): boolean => rules.some((rule) => rule.action === action && fitsRule(rule, request));
  return fits('allow') && !fits('deny');
}

describe('rules files', () => {
  test('are read again as they are written', () => {
    fc.assert(
      fc.property(ruleSets, (set) => {
        const parsed = parseRules(rulesToYaml(set), 'rules.yaml');
        assert.deepEqual(parsed.mistakes, undefined);
        assert.deepEqual(parsed.value, structuredClone(set));
      }),
      { numRuns: 300 },
    );
  });

  test('decide as their rules say, compiled', async () => {
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(ruleSets, fc.array(requests, { minLength: 150, maxLength: 150 }), async (set, many) => {
        const decide = await deciderOf(await policyOf(set));
        for (const request of many) {
          const expected = allows(set, request);
          if (expected) allowed += 1;
          assert.equal(decide(request), expected, JSON.stringify(request));
        }
      }),
      { numRuns: 10, endOnFailure: true },
    );
    assert.ok(allowed > 50, `only ${allowed} were allowed`);
  });

  test('become Rego whose own tests pass', async () => {
    await fc.assert(
      fc.asyncProperty(ruleSets, async (set) => {
        const { modules, tests } = await policyOf(set);
        const result = await compiler.test({ modules: { ...modules, ...tests }, data: {} }, never);
        assert.ok(result.kind === 'ran', JSON.stringify(result));
        assert.deepEqual(
          result.tests.filter(({ outcome }) => outcome !== 'pass'),
          [],
        );
        assert.ok(result.tests.length >= 2 + 8 * set.rules.length);
      }),
      { numRuns: 3, endOnFailure: true },
    );
  });

  test('deny paths with two readings, whatever they allow', async () => {
    const everything = 'rules: [{ name: all, from: [{ anyone: true }] }]';
    const { policy } = await translateRules(everything, 'rules.yaml');
    assert.ok(policy !== undefined);
    const decide = await deciderOf(policy);
    const request = { method: 'GET', host: 'one.test', headers: {} };
    assert.equal(decide({ ...request, path: '/a' }), true);
    for (const path of ['/a/../b', '/a//b', '/a;b', '/%2e%2e/b', 'a', '']) {
      assert.equal(decide({ ...request, path }), false, path);
    }
  });

  test('keep the parts of one rule apart from another rule, whatever their names', async () => {
    const text = `rules:
  - name: web
    from: [{ spiffe_ids: [spiffe://a.test/web] }, { spiffe_ids: [spiffe://a.test/x] }]
    to: [{ methods: [GET], paths: [/x, /y] }, { methods: [PUT], paths: [/x] }]
    when: [{ header: h, not_in: [a] }]
  - { name: web from, from: [{ spiffe_ids: [spiffe://a.test/other] }] }
  - { name: web to, from: [{ spiffe_ids: [spiffe://a.test/other] }] }
  - { name: web to 1 paths, from: [{ spiffe_ids: [spiffe://a.test/other] }] }
  - { name: web when 1 not, from: [{ spiffe_ids: [spiffe://a.test/other] }] }
`;
    const { policy } = await translateRules(text, 'rules.yaml');
    assert.ok(policy !== undefined);
    const decide = await deciderOf(policy);
    const request = { peer: 'spiffe://a.test/web', method: 'GET', path: '/x', host: 'one.test', headers: { h: 'b' } };
    assert.equal(decide(request), true);
    assert.equal(decide({ ...request, method: 'DELETE', path: '/secret', headers: {} }), false);
    assert.equal(decide({ ...request, peer: 'spiffe://a.test/x', path: '/secret' }), false);
  });

  test('deny raw headers where a header must not be there', async () => {
    const text = 'rules: [{ name: all, from: [{ anyone: true }], when: [{ header: x-bad, present: false }] }]';
    const { policy } = await translateRules(text, 'rules.yaml');
    assert.match(policy?.modules['rules.rego'] ?? '', /not is_refused[^]*is_refused if request\.headerMap/);
  });

  test('deny raw headers where a header is a reason to', async () => {
    const text =
      'rules: [{ name: all, from: [{ anyone: true }] }, { name: no, action: deny, from: [{ anyone: true }], when: [{ header: X-Bad, present: true }] }]';
    const { policy } = await translateRules(text, 'rules.yaml');
    assert.ok(policy !== undefined);
    const built = await compiler.build({ modules: policy.modules, data: {} }, policy.entrypoint, never);
    assert.ok(built.kind === 'built');
    const module = await WebAssembly.compile(built.wasm);
    const limits = { recycleBytes: 2 ** 28, maxBytes: 2 ** 29 };
    const instance = instantiatePolicy({ module, data: json({}), entrypoint: policy.entrypoint, limits });
    const decide = (http: object): unknown =>
      instance.evaluate(
        exactBuffer(json({ attributes: { request: { http: { path: '/', ...http } } }, parsed_path: [''] })),
      )[0]?.result;
    assert.equal(decide({ headers: {} }), true);
    assert.equal(decide({ headers: { 'x-bad': '' } }), false);
    assert.equal(decide({ headerMap: { headers: [{ key: 'x-bad', value: '1' }] } }), false);
  });

  const refused: readonly { readonly name: string; readonly text: string; readonly mistake: RegExp }[] = [
    { name: 'nobody', text: 'rules: [{ name: a }]', mistake: /from/ },
    { name: 'an empty subject', text: 'rules: [{ name: a, from: [{}] }]', mistake: /names nobody/ },
    {
      name: 'two subjects in one',
      text: 'rules: [{ name: a, from: [{ anyone: true, verified: true }] }]',
      mistake: /two things/,
    },
    {
      name: 'letting in for want of proof',
      text: 'rules: [{ name: a, from: [{ unverified: true }] }]',
      mistake: /nobody is let in/,
    },
    {
      name: 'a whole trust domain as an ID',
      text: 'rules: [{ name: a, from: [{ spiffe_ids: [spiffe://a.test] }] }]',
      mistake: /SPIFFE ID/,
    },
    {
      name: 'any trust domain',
      text: 'rules: [{ name: a, from: [{ spiffe_ids: ["spiffe://*/web"] }] }]',
      mistake: /SPIFFE ID/,
    },
    {
      name: 'a part of a segment',
      text: 'rules: [{ name: a, from: [{ spiffe_ids: ["spiffe://a.test/we*"] }] }]',
      mistake: /SPIFFE ID/,
    },
    {
      name: 'an empty target',
      text: 'rules: [{ name: a, from: [{ anyone: true }], to: [{}] }]',
      mistake: /names nothing/,
    },
    {
      name: 'a path with a query',
      text: 'rules: [{ name: a, from: [{ anyone: true }], to: [{ paths: ["/a?b"] }] }]',
      mistake: /a path/,
    },
    {
      name: 'a path with dots',
      text: 'rules: [{ name: a, from: [{ anyone: true }], to: [{ paths: [/a/../b] }] }]',
      mistake: /a path/,
    },
    {
      name: 'a path with an escape',
      text: 'rules: [{ name: a, from: [{ anyone: true }], to: [{ paths: [/a%20b] }] }]',
      mistake: /a path/,
    },
    {
      name: 'stars in the middle',
      text: 'rules: [{ name: a, from: [{ anyone: true }], to: [{ paths: ["/**/a"] }] }]',
      mistake: /a path/,
    },
    {
      name: 'a method in lower case',
      text: 'rules: [{ name: a, from: [{ anyone: true }], to: [{ methods: [get] }] }]',
      mistake: /upper case/,
    },
    {
      name: 'a host with a port',
      text: 'rules: [{ name: a, from: [{ anyone: true }], to: [{ hosts: ["a.test:80"] }] }]',
      mistake: /without a port/,
    },
    {
      name: 'a claim of nobody',
      text: 'rules: [{ name: a, from: [{ anyone: true }], when: [{ claim: [sub], in: [x] }] }]',
      mistake: /belong together/,
    },
    {
      name: 'a condition without a test',
      text: 'rules: [{ name: a, from: [{ anyone: true }], when: [{ header: x }] }]',
      mistake: /one test/,
    },
    {
      name: 'two tests',
      text: 'rules: [{ name: a, from: [{ anyone: true }], when: [{ header: x, in: [a], prefix: b }] }]',
      mistake: /one test/,
    },
    {
      name: 'one name in Rego twice',
      text: 'rules: [{ name: A b, from: [{ anyone: true }] }, { name: a-b, from: [{ anyone: true }] }]',
      mistake: /taken/,
    },
    { name: 'an unknown key', text: 'rules: [{ name: a, form: [] }]', mistake: /did you mean `from`/ },
  ];
  for (const { name, text, mistake } of refused) {
    test(`refuse ${name}`, async () => {
      const { mistakes } = await translateRules(text, 'rules.yaml');
      assert.match(mistakes?.map(formatMistake).join('\n') ?? '', mistake);
    });
  }

  test('are a source of a policy, whose digest is that of the Rego', async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, 'rules.yaml');
    const source = pathSource(path, { clock: systemClock });
    await assert.rejects(source.read(never), { code: 'file_unreadable' });
    await writeFile(path, 'rules: [{ name: a, from: [{ anyone: true }] }]');
    const first = await source.read(never);
    assert.deepEqual(Object.keys(first.files.modules), ['rules.rego', 'paths.rego']);
    await writeFile(path, '# a remark\nrules: [{ name: a, from: [{ anyone: true }] }]');
    assert.equal((await source.read(never)).digest, first.digest);
    await writeFile(path, 'rules: [{ name: a }]');
    await assert.rejects(source.read(never), { code: 'policy_invalid', message: /rules\.yaml:1:9: .*from/ });
  });
});
