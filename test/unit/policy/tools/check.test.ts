/** What `policy check` finds in policies that compile. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../../../src/core/index.ts';
import { INPUT_SCHEMA } from '../../../../src/gate/index.ts';
import { createPolicyTools, type CheckedSource } from '../../../../src/policy/index.ts';
import { never } from '../support.ts';

const tools = createPolicyTools({ clock: systemClock });

async function check(body: string, data = '{}'): Promise<CheckedSource> {
  const rego = `package a\n\ndefault allow := false\n\n${body}`;
  const files = { modules: { 'a.rego': rego }, data: { 'data.json': data } };
  const checked = await tools.check(files, { entrypoint: 'a/allow', schema: INPUT_SCHEMA, signal: never });
  assert.ok(checked.kind === 'checked', JSON.stringify(checked));
  return checked;
}

const short = ({ findings }: CheckedSource): readonly string[] =>
  findings.map(({ line, column, code, message }) => `${line}:${column} ${code}: ${message}`);

/** Each with what is found in it; the first line is line 5. */
const CASES: readonly (readonly [what: string, rego: string, found: readonly string[]])[] = [
  [
    'nothing in a policy that decides by what is verified',
    `allow if {
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id in data.readers
	input.attributes.request.http.headers["x-any"] == "1"
	input.svidgate.jwt.claims.groups[_] == "admin"
	input.parsed_body.deep[7].key == 1
}
`,
    [],
  ],
  [
    'a misspelt field',
    'allow if input.attributes.request.http.methd == "GET"\n',
    ['5:10 input_unknown: input.attributes.request.http.methd is never there'],
  ],
  [
    'a misspelt field behind a name that stands for a part of the input',
    'allow if http.host == "a"\n\nhttp := input.attributes.request.htpp\n',
    ['7:9 input_unknown: input.attributes.request.htpp is never there'],
  ],
  [
    'a comparison with another type',
    'allow if input.attributes.request.http.method == 7\n',
    ['5:10 input_type: match error (left  : string; right : number)'],
  ],
  [
    'rules that nothing reaches, once each',
    'allow if input.svidgate.policy == "a"\n\nother if true\n\nother if input.svidgate.policy == "b"\n\ndeep if other\n',
    [
      '7:1 rule_unreached: nothing that decides refers to a.other',
      '11:1 rule_unreached: nothing that decides refers to a.deep',
    ],
  ],
  [
    'what Envoy read from certificates that nobody verified',
    'allow if input.source_principal == "a"\n\nallow if input.attributes.source.principal == data.b\n\n' +
      'allow if contains(input.attributes.source.certificate, "x")\n',
    [
      '5:10 identity_unverified: input.source_principal is what Envoy read from a certificate: whoever reaches this Envoy may have written it: nobody verified it against the trust bundles',
      '7:10 identity_unverified: input.attributes.source.principal is what the other side presented: whoever reaches this Envoy may have written it: nobody verified it against the trust bundles',
      '9:19 identity_unverified: input.attributes.source.certificate is what the other side presented: whoever reaches this Envoy may have written it: nobody verified it against the trust bundles',
    ],
  ],
  [
    'the header of forwarded clients, by another name',
    'allow if contains(http.headers["x-forwarded-client-cert"], "a")\n\nhttp := input.attributes.request.http\n',
    [
      '5:19 identity_unverified: the header x-forwarded-client-cert is text of the request: whoever reaches this Envoy may have written it: nobody verified it against the trust bundles',
    ],
  ],
  [
    'a peer of which nobody asks whether it is verified',
    'allow if input.svidgate.peer.spiffe_id == "a"\n',
    ['5:10 identity_unverified: input.svidgate.peer.spiffe_id is read, and input.svidgate.peer.verified nowhere'],
  ],
  [
    'a token that is decoded and not verified',
    'allow if io.jwt.decode(input.attributes.request.http.headers.authorization)[1].sub == "a"\n',
    ['5:10 identity_unverified: io.jwt.decode reads a token that nobody verified'],
  ],
  [
    'no token that is verified, too',
    `allow if {
	token := input.attributes.request.http.headers.authorization
	io.jwt.verify_hs256(token, "secret")
	io.jwt.decode(token)[1].sub == "a"
}
`,
    [],
  ],
  [
    'builtins that ask the network',
    'allow if http.send({"method": "GET", "url": "https://a.test"}).status_code == 200\n',
    ['5:10 asks_network: http.send makes decisions wait for others, and fail with them'],
  ],
];

describe('of a policy that compiles it finds', () => {
  for (const [what, rego, found] of CASES) {
    test(what, async () => {
      assert.deepEqual(short(await check(rego)), found);
    });
  }

  test('an entrypoint without a default, and one that allows by default', async () => {
    const of = async (rego: string): Promise<readonly string[]> => {
      const files = { modules: { 'a.rego': `package a\n\n${rego}` }, data: {} };
      const checked = await tools.check(files, { entrypoint: 'a/allow', schema: INPUT_SCHEMA, signal: never });
      assert.ok(checked.kind === 'checked');
      return short(checked);
    };
    assert.deepEqual(await of('allow if input.svidgate.policy == "a"\n'), [
      '3:1 default_missing: the entrypoint a/allow is undefined where no rule holds',
    ]);
    assert.deepEqual(await of('default allow := true\n\nallow := false if input.svidgate.policy == "a"\n'), [
      '3:1 default_allows: the entrypoint a/allow allows what no rule is about',
    ]);
    assert.deepEqual(await of('default allow := {"allowed": true}\n'), [
      '3:1 default_allows: the entrypoint a/allow allows what no rule is about',
    ]);
  });

  test('what strict mode refuses', async () => {
    const { warnings } = await check('import data.unused\n\nallow if input.svidgate.policy == "a"\n');
    assert.deepEqual(
      warnings.map(({ line, message }) => [line, message]),
      [[5, 'import data.unused unused']],
    );
  });

  test('SPIFFE IDs in the Rego, and which are beginnings of others', async () => {
    const { literals } = await check(
      'allow if input.svidgate.peer.spiffe_id in {"spiffe://a.test/web"}\n\n' +
        'allow if startswith(input.svidgate.peer.spiffe_id, "spiffe://a.test/ns/")\n\n' +
        'allow if input.svidgate.peer.verified == true\n',
    );
    assert.deepEqual(literals, [
      { text: 'spiffe://a.test/web', file: 'a.rego', line: 5, column: 44, isPrefix: false },
      { text: 'spiffe://a.test/ns/', file: 'a.rego', line: 7, column: 52, isPrefix: true },
    ]);
  });
});

test('a policy that does not compile is refused with all its mistakes', async () => {
  const files = { modules: { 'a.rego': 'package a\n\nallow if other(1)\n\nallow if nothing(1)\n' }, data: {} };
  const checked = await tools.check(files, { entrypoint: 'a/allow', schema: INPUT_SCHEMA, signal: never });
  assert.ok(checked.kind === 'refused');
  assert.deepEqual(
    checked.problems.map(({ line }) => line),
    [3, 5],
  );
});
