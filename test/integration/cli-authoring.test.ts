/** `svidgate policy rules` and `import-istio`. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { cli } from '../support/run-cli.ts';
import { tempFolder } from '../support/temp-folder.ts';

const RULES =
  'rules: [{ name: web reads, from: [{ spiffe_ids: [spiffe://prod.acme.test/web] }], to: [{ methods: [GET] }] }]\n';
const ISTIO = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec:
  selector: { matchLabels: { app: orders } }
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: other, namespace: shop }
spec:
  selector: { matchLabels: { app: stock } }
  rules: [{ from: [{ source: { ipBlocks: [10.0.0.0/8] } }] }]
`;

describe('svidgate policy rules', () => {
  test('prints the Rego, and writes it with its tests', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'rules.yaml');
    await writeFile(file, RULES);
    const shown = await cli('policy', 'rules', file);
    assert.equal(shown.code, 0, shown.err);
    assert.match(shown.out, /^rule_web_reads if \{\n\tpeer == "spiffe:\/\/prod\.acme\.test\/web"$/m);
    const out = join(folder.path, 'policy');
    const written = await cli('policy', 'rules', file, '--out', out, '--output', 'json');
    const { entrypoint, files } = JSON.parse(written.out) as { entrypoint: string; files: Record<string, string> };
    assert.equal(entrypoint, 'envoy/authz/allow');
    assert.deepEqual(Object.keys(files), ['rules.rego', 'paths.rego', 'rules_test.rego']);
    for (const [name, text] of Object.entries(files)) assert.equal(await readFile(join(out, name), 'utf8'), text);
  });

  test('says every mistake with its place', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'rules.yaml');
    await writeFile(file, 'rules:\n  - name: a\n    from: [{ spiffe_ids: [web] }]\n    to: [{ path: [/] }]\n');
    const { code, err } = await cli('policy', 'rules', file);
    assert.equal(code, 2);
    assert.match(err, /rules\.yaml:3:27: /);
    assert.match(err, /rules\.yaml:4:12: unknown key `rules\[0\]\.to\[0\]\.path`: did you mean `paths`\?/);
  });
});

describe('svidgate policy import-istio', () => {
  test('takes the policies of one workload, and says on standard error what is stricter', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'istio.yaml');
    await writeFile(file, ISTIO);
    const { code, out, err } = await cli('policy', 'import-istio', file, '--workload', 'shop/app=orders');
    assert.equal(code, 0, err);
    assert.match(out, /^rules:\n {2}- name: "web-1"\n/);
    assert.match(err, /^- paths that services may read in more than one way are denied/m);
  });

  test('refuses what it is not told enough about', async () => {
    await using folder = await tempFolder();
    const file = join(folder.path, 'istio.yaml');
    await writeFile(file, ISTIO);
    const two = await cli('policy', 'import-istio', file);
    assert.equal(two.code, 2);
    assert.match(two.err, /istio\.yaml:\d+:\d+: other is about other workloads than web: give --workload/);
    const wrong = await cli('policy', 'import-istio', file, '--provider', 'accounts');
    assert.equal(wrong.code, 2);
    assert.match(wrong.err, /--provider accounts: expected NAME=ISSUER/);
  });
});
