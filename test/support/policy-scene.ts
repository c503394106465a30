import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from './temp-folder.ts';

/** A policy with tests and data, for the commands that work on policies. */
export const POLICY = `package envoy.authz

default allow := false

# METADATA
# title: readers
allow if {
	input.svidgate.peer.verified == true
	some reader in data.readers
	input.svidgate.peer.spiffe_id == reader
	request.method == "GET"
	print("reader", reader)
}

request := input.attributes.request.http
`;

const TESTS = `package envoy.authz_test

import data.envoy.authz

peer := {"peer": {"verified": true, "spiffe_id": "spiffe://prod.acme.test/web"}}

get := {"attributes": {"request": {"http": {"method": "GET"}}}, "svidgate": peer}

test_readers_read if authz.allow with input as get

test_others_do_not if not authz.allow with input as {}
`;

const DATA = 'readers: ["spiffe://prod.acme.test/web"] # not spiffe://prod.acme.test/comment\n';

/** A request that the policy allows with GET. */
export const input = (method: string, id = 'web'): Readonly<Record<string, unknown>> => ({
  attributes: { request: { http: { method } } },
  svidgate: { peer: { verified: true, spiffe_id: `spiffe://prod.acme.test/${id}` } },
});

export interface PolicyScene extends AsyncDisposable {
  /** The policy's folder. */
  readonly policy: string;
  /** Path of a file beside it. */
  file(name: string): string;
  write(name: string, text: string): Promise<string>;
}

export async function policyScene(rego = POLICY): Promise<PolicyScene> {
  const folder = await tempFolder();
  const policy = join(folder.path, 'policy');
  await mkdir(policy);
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder.path, name), text);
    return join(folder.path, name);
  };
  await write('policy/authz.rego', rego);
  await write('policy/authz_test.rego', TESTS);
  await write('policy/data.yaml', DATA);
  return {
    policy,
    write,
    file: (name) => join(folder.path, name),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
