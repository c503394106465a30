/** kill -9 while CAs, keys, entries and revocations change: nothing that was acknowledged is lost, and every SVID verifies. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { parseCertificate, splitDer, type Certificate } from '../../src/pki/index.ts';
import type { X509SvidResponse } from '../../src/proto/index.ts';
import { configFolder, serve } from '../support/cli.ts';
import { cliOf, type ServerCli } from '../support/run-cli.ts';
import { OWN_SELECTOR } from '../support/server.ts';
import { connectWorkload } from '../support/workload-client.ts';

const KILLS = Number(process.env['SVIDGATE_CHAOS_KILLS'] ?? 6);
const CONFIG = 'authority: { ca_ttl: 60s, x509_svid_ttl: 30s, jwt_svid_ttl: 3s, ack_timeout: 0s }';

interface Acknowledged {
  readonly entries: string[];
  readonly revocations: string[];
}

async function fetchSvids(socket: string): Promise<X509SvidResponse> {
  using client = connectWorkload(socket);
  const stream = client.x509Svids();
  const answer = await stream.next();
  stream.cancel();
  await stream.ended;
  return answer;
}

/** Each SVID is its own, valid now, and signed by a root of the bundle that came with it. */
function assertSound({ svids }: X509SvidResponse, ids: readonly string[]): void {
  assert.deepEqual(svids.map(({ spiffeId }) => spiffeId).sort(), [...ids].sort());
  for (const { spiffeId, x509Svid, bundle } of svids) {
    const [leaf] = splitDer(x509Svid).map(parseCertificate);
    const roots = splitDer(bundle).map(parseCertificate);
    assert.deepEqual(leaf?.uris, [spiffeId]);
    assert.ok((leaf?.notAfter ?? 0) > Date.now());
    const root = roots.find((one) => leaf?.isSignedBy(one));
    assert.ok(root !== undefined, 'no root of its bundle has signed it');
    assert.ok(root.notAfter >= (leaf?.notAfter ?? Infinity), 'it outlives its CA');
  }
}

/** Changes everything that can be changed, until the server is gone. */
async function change(run: ServerCli, acknowledged: Acknowledged, socket: string): Promise<void> {
  for (let step = acknowledged.entries.length; ; step += 1) {
    const spiffeId = `spiffe://example.test/chaos/${step}`;
    const created = await run('entry', 'create', '--spiffe-id', spiffeId, '--selector', OWN_SELECTOR);
    if (created.code !== 0) return;
    acknowledged.entries.push(spiffeId);
    const kind = step % 2 === 0 ? 'x509' : 'jwt';
    const prepared = await run('authority', 'prepare', kind, '--output', 'json');
    if (prepared.code !== 0) return;
    const { authorities } = JSON.parse(prepared.out) as {
      readonly authorities: readonly { readonly kind: string; readonly state: string; readonly authority_id: string }[];
    };
    const next = authorities.find((slot) => slot.kind === kind && slot.state === 'prepared');
    if (next !== undefined) await run('authority', 'activate', kind, next.authority_id);
    const serial = await serialOf(socket);
    if (serial === undefined) return;
    const revoked = await run('svid', 'revoke', '--serial', serial, '--output', 'json');
    if (revoked.code !== 0) return;
    acknowledged.revocations.push((JSON.parse(revoked.out) as { readonly serial: string }).serial);
  }
}

/** Of one SVID that is held; undefined when the server is gone. */
async function serialOf(socket: string): Promise<string | undefined> {
  try {
    const [svid] = (await fetchSvids(socket)).svids;
    const [leaf] = splitDer(svid?.x509Svid ?? new Uint8Array());
    return leaf === undefined ? undefined : parseCertificate(leaf).serial;
  } catch {
    return undefined;
  }
}

test(`after each of ${KILLS} times kill -9 amid rotations all that was acknowledged is there, and SVIDs verify`, async (t) => {
  await using folder = await configFolder(CONFIG);
  const socket = `unix:${join(folder.path, 'api.sock')}`;
  const run = cliOf({ folder: folder.path });
  const acknowledged: Acknowledged = { entries: [], revocations: [] };
  let given: readonly Certificate[] = [];
  let verified = 0;
  for (let kill = 0; kill <= KILLS; kill += 1) {
    await using server = serve(folder.path);
    await server.started();
    const listed = (await run.json('entry', 'list')) as { readonly entries: readonly { readonly spiffe_id: string }[] };
    const present = listed.entries.map(({ spiffe_id: id }) => id);
    const lost = acknowledged.entries.filter((id) => !present.includes(id));
    assert.deepEqual(lost, [], 'an entry was lost');
    const { revocations } = (await run.json('svid', 'revocations')) as { revocations: readonly { serial: string }[] };
    const kept = revocations.map(({ serial }) => serial);
    assert.deepEqual(
      acknowledged.revocations.filter((serial) => !kept.includes(serial)),
      [],
      'a revocation was lost',
    );
    if (present.length > 0) {
      const answer = await fetchSvids(socket);
      assertSound(answer, present);
      const roots = splitDer(answer.svids[0]?.bundle ?? new Uint8Array()).map(parseCertificate);
      const living = given.filter(({ notAfter }) => notAfter > Date.now());
      assert.ok(
        living.every((leaf) => roots.some((root) => leaf.isSignedBy(root))),
        'the root of an SVID that was given before is gone',
      );
      verified += living.length;
      given = answer.svids.flatMap(({ x509Svid }) => splitDer(x509Svid).slice(0, 1)).map(parseCertificate);
    }
    acknowledged.entries.splice(0, Infinity, ...present);
    const changing = change(run, acknowledged, socket);
    await pause(200 + Math.random() * 1500);
    server.child.kill('SIGKILL');
    assert.equal(await server.ended, 'SIGKILL');
    await changing;
  }
  t.diagnostic(`${acknowledged.entries.length} entries and ${acknowledged.revocations.length} revocations survived`);
  t.diagnostic(`${verified} SVIDs of before a kill were verified after it`);
});
