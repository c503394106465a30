import assert from 'node:assert/strict';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { openPolicy } from '../../src/policy/index.ts';
import { root } from '../../tools/setup/paths.mjs';
import { recordOf } from '../support/decision-records.ts';
import { cli } from '../support/run-cli.ts';
import { tempFolder } from '../support/temp-folder.ts';

const EXAMPLE = join(root, 'envoy-examples/offload');
const ENTRYPOINT = ['-e', 'shop/allow'] as const;

describe('policy offload', () => {
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  let policy: string;
  let config: string;
  let log: string;
  /** A decision in it. */
  let revoked: string;

  before(async () => {
    folder = await tempFolder();
    policy = join(folder.path, 'policy');
    config = join(folder.path, 'svidgate.yaml');
    log = join(folder.path, 'decisions.jsonl');
    await cp(EXAMPLE, folder.path, { recursive: true });
  });
  after(async () => folder[Symbol.asyncDispose]());

  test('says of each rule whether it is offloaded, what keeps it from that, where, and what would help', async () => {
    const { code, out } = await cli('policy', 'offload', policy, ...ENTRYPOINT, '--explain');
    assert.equal(code, 0);
    const [id, ...others] = [...out.matchAll(/^ {4}"(default@[0-9a-f]{12}#\d+)":\n {6}permissions:$/gm)].map(
      ([, name]) => name,
    );
    assert.deepEqual([id === undefined, others], [false, []], out);
    const [head, none, first, , second, why, hint, ...rest] = out.replaceAll(/^ {4}[" ].*\n/gm, '').split('\n');
    assert.deepEqual([none, rest], ['', ['']]);
    assert.equal(head, 'default: 1 of 2 ways to allow need no call, in 1 rule of Envoy');
    assert.equal(first, `${policy}/shop.rego:6 data.shop.allow: offloaded`);
    assert.equal(second, `${policy}/shop.rego:13 data.shop.allow: left to the call`);
    assert.match(why ?? '', /^ {2}.*\/shop\.rego:17:2: the body .*\(gate_only\)$/);
    assert.match(hint ?? '', /^ {4}put what needs it into a rule of its own/);
  });

  test('shows the RBAC filter that it becomes, as YAML for Envoy', async () => {
    const { out } = await cli('policy', 'offload', policy, ...ENTRYPOINT, '--output', 'yaml');
    const filter = parse(out) as { readonly shadow_rules: { readonly policies: Readonly<Record<string, unknown>> } };
    const [[id, rule] = [], ...others] = Object.entries(filter.shadow_rules.policies);
    assert.equal(others.length, 0);
    assert.match(id ?? '', /^default@[0-9a-f]{12}#\d+$/);
    for (const text of ['"exact":"GET"', '"prefix":"/orders/"', '"exact":"spiffe://mesh.test/ops"']) {
      assert.ok(JSON.stringify(rule).includes(text), text);
    }
  });

  test('counts how many recorded decisions would need no call', async () => {
    await using opened = await openPolicy({
      path: policy,
      entrypoint: 'shop/allow',
      signal: new AbortController().signal,
    });
    const request = (id: string, method: string, path: string, more = {}) => ({
      // A path is not recorded where a policy looks at its segments alone.
      attributes: { request: { http: { method } } },
      parsed_path: path.slice(1).split('/').slice(0, 1),
      svidgate: { peer: { verified: true, spiffe_id: `spiffe://mesh.test/${id}` } },
      ...more,
    });
    const inputs = [
      ...Array.from({ length: 6 }, (_, index) => request('web', 'GET', `/orders/${index}`)),
      request('web', 'GET', '/reports'),
      request('ops', 'POST', '/orders/7', { parsed_body: { reason: 'refund' } }),
      request('batch', 'GET', '/orders/7'),
    ];
    const records = await Promise.all(inputs.map((input) => recordOf(opened, input)));
    const { input: _, ...unreadable } = await recordOf(opened, inputs[0] ?? {});
    const denied = await recordOf(opened, inputs[0] ?? {}, { svidgate: { outcome: 'deny', reason: 'peer_revoked' } });
    const elsewhere = await recordOf(opened, inputs[0] ?? {}, { svidgate: { policy: 'other' } });
    const anonymous = await recordOf(opened, inputs[0] ?? {}, { svidgate: { caller: 'anonymous' } });
    revoked = denied.decision_id;
    const all = [...records, unreadable, denied, elsewhere, anonymous];
    await writeFile(log, all.map((record) => `${JSON.stringify(record)}\n`).join(''));

    const { out } = await cli('policy', 'offload', '--config', config, '--records', log, '--output', 'json');
    const { policies } = JSON.parse(out) as {
      readonly policies: readonly {
        readonly rules: readonly { readonly id: string; readonly rbac: object }[];
        readonly recorded: object;
      }[];
    };
    const [shown] = policies;
    assert.deepEqual(shown?.recorded, {
      decisions: 11,
      allowed: 7,
      refused: 0,
      called: 3,
      unknown: 1,
      denied_then: 1,
      by_rule: { [shown?.rules[0]?.id ?? '']: 7 },
      gaps: [],
    });
  });

  test('is of a bundle, too, and says what is not in force as it is configured', async () => {
    const bundle = join(folder.path, 'bundle.tar.gz');
    assert.equal((await cli('policy', 'build', policy, ...ENTRYPOINT, '-o', bundle)).code, 0);
    const { out } = await cli('policy', 'offload', bundle, ...ENTRYPOINT);
    assert.match(out, /bundle\.tar\.gz!shop\.rego:6 data\.shop\.allow: offloaded/);

    const guarded = join(folder.path, 'guarded.yaml');
    await writeFile(
      guarded,
      `trust_domain: a.test\nauthz: { policies: { default: { path: ./policy, entrypoint: shop/allow } } }\n`,
    );
    const nothing = await cli('policy', 'offload', '--config', guarded);
    assert.deepEqual([nothing.code, /no policy has `offload: on`/.test(nothing.err)], [1, true]);
    const wouldBe = await cli('policy', 'offload', '--config', guarded, '--policy', 'default', '--records', log);
    assert.match(wouldBe.out, /\n {2}not in force: it does not have `offload: on`\n/);
    assert.match(wouldBe.out, /^of 11 recorded decisions 7 \(63\.6 %\) need no call\n {2}3 take one\n/m);
    assert.ok(wouldBe.out.includes(`1 were denied, by another policy or for what svidgate knows: ${revoked}`));
  });

  test('is of one Envoy alone where the policy asks which one it is', async () => {
    const shipped = join(root, 'policies/rego');
    const data = join(folder.path, 'shipped');
    await cp(shipped, data, { recursive: true });
    const rows = ['orders', 'billing'].map(
      (to) => `  - { from: [spiffe://a.test/web], to: [spiffe://a.test/${to}], methods: [GET], paths: [/${to}/*] }\n`,
    );
    await writeFile(join(data, 'data.yaml'), `rules:\n${rows.join('')}`);
    const show = async (...flags: readonly string[]): Promise<string> =>
      (await cli('policy', 'offload', data, '--output', 'yaml', ...flags)).out;
    const [all, billing] = await Promise.all([show(), show('--caller', 'spiffe://a.test/billing')]);
    assert.ok(all.includes('/orders/') && all.includes('/billing/'), all);
    assert.ok(!billing.includes('/orders/') && billing.includes('/billing/'), billing);
  });

  test('tells peers by a part of their SPIFFE ID one by one, as far as entries are known', async () => {
    const path = join(folder.path, 'open.rego');
    const rule = (condition: string): string =>
      `allow if {\n\tinput.attributes.request.http.method == "GET"\n\t${condition}\n}\n`;
    const peer = 'input.svidgate.peer.spiffe_id';
    const rules = [`startswith(${peer}, "spiffe://mesh.test/")`, `endswith(${peer}, "/nobody")`].map(rule);
    await writeFile(path, `package envoy.authz\n\ndefault allow := false\n\n${rules.join('\n')}`);
    const alone = await cli('policy', 'offload', path);
    assert.match(alone.out, /^default: 2 of 2 ways to allow need no call, in 2 rules of Envoy$/m);
    const unknown = 'peers by prefix spiffe://mesh.test/: those with an entry, told one by one';
    assert.ok(alone.out.includes(`:5 data.envoy.authz.allow: offloaded\n  ${unknown}\n`), alone.out);
    const { out } = await cli('policy', 'offload', path, '--config', config);
    assert.match(out, /\n {2}peers by prefix spiffe:\/\/mesh\.test\/: \d registered IDs\n/);
    assert.match(out, /\n {2}peers by suffix \/nobody: 0 registered IDs\n/);
    const yaml = (await cli('policy', 'offload', path, '--config', config, '--output', 'yaml')).out;
    assert.match(yaml, /exact: "?spiffe:\/\/mesh\.test\/ops/);
  });

  test('wrong usage is told', async () => {
    assert.equal((await cli('policy', 'offload', policy, '--caller', 'web')).code, 2);
    assert.equal((await cli('policy', 'offload', '--config', config, '--policy', 'other')).code, 1);
  });
});
