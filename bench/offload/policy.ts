import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../src/core/index.ts';
import { PEER_SPIFFE_ID, TRUST_DOMAIN } from '../parts/bench-server.ts';

export const PEERS = { trustDomain: TRUST_DOMAIN, web: PEER_SPIFFE_ID };

/** Who may do what at one service. */
export interface Row {
  readonly service: string;
  readonly from: readonly string[];
  readonly methods: readonly string[];
}

export const ENTRYPOINT = 'shop/allow';

/** As many rows as asked for; the last one is about our requests. */
export function rowsOf(count: number): readonly Row[] {
  const others = Array.from({ length: count - 1 }, (_, at) => ({
    service: `service-${at}`,
    from: [`spiffe://${TRUST_DOMAIN}/client-${at}`, `spiffe://${TRUST_DOMAIN}/client-${at + 1}`],
    methods: ['GET', 'HEAD'],
  }));
  return [...others, { service: 'orders', from: [PEER_SPIFFE_ID], methods: ['GET', 'HEAD'] }];
}

/** Rego that walks the table, for svidgate and for OPA, which knows the peer by what Envoy says. */
export async function writeTable(folder: string, rows: readonly Row[], decider: 'svidgate' | 'opa'): Promise<void> {
  const [known, peer] =
    decider === 'svidgate'
      ? ['\tinput.svidgate.peer.verified == true\n', 'input.svidgate.peer.spiffe_id']
      : ['', 'input.attributes.source.principal'];
  const rego = `package shop

default allow := false

allow if {
${known}	some row in data.rows
	${peer} in row.from
	input.attributes.request.http.method in row.methods
	input.parsed_path[0] == row.service
}
`;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'shop.rego'), rego);
  await writeFile(join(folder, 'data.json'), JSON.stringify({ rows }));
}

/** A rule for each service, and one that is changed. */
export async function writeRules(folder: string, count: number, changed: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const rules = Array.from({ length: count }, (_, at) => {
    const service = at === 0 ? `service-${changed}` : `service-${at}`;
    return `allow if {
	input.svidgate.peer.verified == true
	input.svidgate.peer.spiffe_id == "spiffe://${TRUST_DOMAIN}/client-${at}"
	input.attributes.request.http.method == "GET"
	input.parsed_path[0] == "${service}"
}
`;
  });
  const text = ['package shop\n', 'default allow := false\n', ...rules].join('\n');
  await writeFileAtomic(join(folder, 'shop.rego'), text, 0o600);
}
