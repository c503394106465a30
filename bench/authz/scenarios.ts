import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Size } from '../benchmark.ts';
import { CheckRequest, encodeMessage, type CheckRequestInit } from '../../src/proto/index.ts';

/** One policy with the requests that it allows. */
export interface Scenario {
  readonly name: string;
  /** Begins the meaning of its figures. */
  readonly what: string;
  /** Rego and data into a folder. */
  write(folder: string): Promise<void>;
  /** In these, `0000000` is replaced by a number that no other request has. */
  readonly requests: () => readonly Uint8Array[];
}

export const ENTRYPOINT = 'envoy/authz/allow';

const USERS = 20;

/** Roles by a table, as in OPA's own samples: all of it is looked at for each request. */
const small: Scenario = {
  name: 'small',
  what: 'roles by a table',
  async write(folder) {
    const roles = ['guest', 'reader', 'writer', 'auditor', 'admin'];
    const users = Array.from({ length: USERS }, (_, at) => [`user-${at}`, { roles: [roles[at % 5], 'reader'] }]);
    const grant = (methods: readonly string[], path: readonly string[]): unknown => ({ methods, path });
    const grants = {
      guest: [grant(['GET'], ['health'])],
      reader: [grant(['GET'], ['people']), grant(['GET', 'HEAD'], ['people', '*', 'orders'])],
      writer: [grant(['POST', 'PUT'], ['people', '*', 'orders'])],
      auditor: [grant(['GET'], ['audit', '*'])],
      admin: [grant(['DELETE'], ['people', '*'])],
    };
    await writePolicy(folder, SMALL, { users: Object.fromEntries(users) as unknown, grants });
  },
  requests: () => encoded(64, (at) => ({ user: `user-${at % USERS}`, path: '/people/0000000/orders?page=1' })),
};

const SMALL = `package envoy.authz

import input.attributes.request.http

default allow := false

allow if {
	some role in data.users[http.headers["x-user"]].roles
	some grant in data.grants[role]
	http.method in grant.methods
	path_matches(grant.path)
}

path_matches(pattern) if {
	count(pattern) == count(input.parsed_path)
	every index, segment in pattern {
		segment in {"*", input.parsed_path[index]}
	}
}
`;

/** Of the form that OPA's evaluator finds by an index of rules, without looking at the others. */
const rules = (count: number): Scenario => ({
  name: 'rules',
  what: '1,000 rules',
  async write(folder) {
    const all = Array.from(
      { length: count },
      (_, at) => `allow if {
	input.attributes.source.principal == "spiffe://bench.test/client-${at}"
	input.attributes.request.http.method == "GET"
	input.parsed_path[0] == "service-${at}"
}
`,
    );
    await writePolicy(folder, ['package envoy.authz\n', 'default allow := false\n', ...all].join('\n'), {});
  },
  requests: () =>
    encoded(count, (at) => ({
      principal: `spiffe://bench.test/client-${at}`,
      path: `/service-${at}/0000000?page=1`,
    })),
});

/** A lookup in a large document. */
const data = (size: number): Scenario => ({
  name: 'data',
  what: '10 MB of data',
  async write(folder) {
    const entries: [string, unknown][] = [];
    for (let bytes = 0, at = 0; bytes < size; at += 1) {
      const user = {
        tenant: `tenant-${at % 500}`,
        roles: [`role-${at % 7}`, 'reader'],
        limits: { rate: at % 100, burst: 200 },
        name: `Somebody of tenant ${at % 500}, number ${at}`,
      };
      entries.push([`user-${at}`, user]);
      bytes += JSON.stringify(user).length + `user-${at}`.length + 4;
    }
    const methods = { reader: ['GET', 'HEAD'], 'role-1': ['POST'] };
    await writePolicy(folder, DATA, { users: Object.fromEntries(entries), methods });
  },
  requests: () =>
    encoded(1000, (at) => {
      const user = (at * 61) % Math.floor(size / 200);
      return { user: `user-${user}`, path: `/tenant-${user % 500}/0000000?page=1` };
    }),
});

const DATA = `package envoy.authz

import input.attributes.request.http

default allow := false

user := data.users[http.headers["x-user"]]

allow if {
	user.tenant == input.parsed_path[0]
	some role in user.roles
	http.method in data.methods[role]
}
`;

/** Builtins that svidgate has OPA's own code for, beside the compiled policy. */
const patterns: Scenario = {
  name: 'patterns',
  what: 'a glob and a regular expression',
  write: (folder) => writePolicy(folder, PATTERNS, {}),
  requests: () => encoded(64, () => ({ path: '/people/0000000/orders?page=1' })),
};

const PATTERNS = `package envoy.authz

import input.attributes.request.http

default allow := false

path := split(http.path, "?")[0]

allow if {
	glob.match("/people/*/orders", ["/"], path)
	regex.match("^/people/[0-9]+/", path)
}
`;

/** `quick` has fewer rules and less data. */
export function scenarios(size: Size): readonly Scenario[] {
  return size === 'full'
    ? [small, rules(1000), data(10_000_000), patterns]
    : [small, rules(50), data(100_000), patterns];
}

async function writePolicy(folder: string, rego: string, document: unknown): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'policy.rego'), rego);
  await writeFile(join(folder, 'data.json'), JSON.stringify(document));
}

interface Asked {
  readonly path: string;
  readonly user?: string;
  readonly principal?: string;
}

function encoded(count: number, asked: (at: number) => Asked): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, at) => encodeMessage(CheckRequest, checkRequest(asked(at), at)));
}

/** As a sidecar's Envoy sends them to either. */
function checkRequest({ path, user, principal = '' }: Asked, at: number): CheckRequestInit {
  return {
    attributes: {
      source: { address: { socketAddress: { address: '10.20.30.40', portValue: 40_000 + (at % 20_000) } }, principal },
      destination: {
        address: { socketAddress: { address: '10.20.30.41', portValue: 8444 } },
        principal: 'spiffe://bench.test/orders',
      },
      request: {
        time: { seconds: 1_800_000_000, nanos: at * 1000 },
        http: {
          id: String(10_000_000_000 + at),
          method: 'GET',
          path,
          host: 'orders.bench.test',
          scheme: 'https',
          protocol: 'HTTP/2',
          headers: {
            ':authority': 'orders.bench.test',
            ':method': 'GET',
            ':path': path,
            ':scheme': 'https',
            accept: 'application/json',
            'accept-encoding': 'gzip, br',
            'user-agent': 'web/1.4 (linux)',
            'x-request-id': '6f1ed0a2-33c5-4b0e-9a3c-123450000000',
            'x-forwarded-for': '10.20.30.40',
            'x-forwarded-proto': 'https',
            ...(user === undefined ? {} : { 'x-user': user }),
            traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
          },
        },
      },
      metadataContext: {},
      routeMetadataContext: {},
    },
  };
}
