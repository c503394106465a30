import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { cliOf } from '../support/run-cli.ts';
import { startTestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

const NO_ENTRIES = 'entries: []\n';

describe('SVIDs by command', () => {
  test('are fetched and written to files that nobody else may read', async () => {
    await using server = await startTestServer();
    const run = cliOf(server);
    const folder = join(server.folder, 'svids');
    const fetched = (await run.json('svid', 'fetch', '--write', folder)) as {
      svids: { spiffe_id: string; serial: string; x509_svid: string }[];
      files: string[];
    };
    assert.equal(fetched.svids[0]?.spiffe_id, 'spiffe://example.test/test');
    assert.doesNotMatch(JSON.stringify(fetched), /PRIVATE KEY/);
    assert.deepEqual((await readdir(folder)).sort(), ['bundle.0.pem', 'svid.0.key', 'svid.0.pem']);
    for (const file of fetched.files) assert.equal((await stat(file)).mode & 0o777, 0o600, file);
    const leaf = new X509Certificate(await readFile(join(folder, 'svid.0.pem')));
    const root = new X509Certificate(await readFile(join(folder, 'bundle.0.pem')));
    assert.ok(leaf.verify(root.publicKey));
    assert.equal(leaf.serialNumber.toLowerCase().replace(/^0+/, ''), fetched.svids[0]?.serial);
    assert.match(
      await run.text('svid', 'fetch'),
      /^SPIFFE ID: +spiffe:\/\/example\.test\/test\nSerial: .*\nEnds: +in \d+m\n$/,
    );
  });

  test('as tokens name their audience and end', async () => {
    await using server = await startTestServer();
    const run = cliOf(server);
    const { svids } = (await run.json('svid', 'fetch', 'jwt', '--audience', 'a', '--audience', 'b')) as {
      svids: { spiffe_id: string; token: string; expires_at: string }[];
    };
    const claims = JSON.parse(Buffer.from(svids[0]?.token.split('.')[1] ?? '', 'base64url').toString()) as object;
    assert.partialDeepStrictEqual(claims, { aud: ['a', 'b'], sub: 'spiffe://example.test/test' });
    assert.ok(Date.parse(svids[0]?.expires_at ?? '') > Date.now());
  });

  test('are refused to who has no entry', async () => {
    await using server = await startTestServer({ entries: NO_ENTRIES });
    const { code, out, err } = await cliOf(server)('svid', 'fetch');
    assert.deepEqual([code, out], [1, '']);
    assert.match(err, /^svidgate: no identity issued \(no_identity\)\. Register the caller/);
  });

  test('are revoked by serial and by SPIFFE ID; the revocation is listed and undone', async () => {
    await using server = await startTestServer();
    const run = cliOf(server);
    const serialOf = async () =>
      ((await run.json('svid', 'fetch')) as { svids: { serial: string }[] }).svids[0]?.serial ?? '';
    const first = await serialOf();
    const bySerial = await run.json('svid', 'revoke', '--serial', first, '--reason', 'key_compromise');
    assert.partialDeepStrictEqual(bySerial, {
      serial: first,
      spiffe_id: 'spiffe://example.test/test',
      reason: 'key_compromise',
    });
    await waitUntil('a fresh SVID', 5000, async () => (await serialOf()) !== first);

    const byId = (await run.json('svid', 'revoke', '--spiffe-id', 'spiffe://example.test/test')) as {
      revocation_id: string;
    };
    assert.equal((await run('svid', 'fetch')).code, 1);
    assert.deepEqual(await run.json('svid', 'revocations'), { revocations: [bySerial, byId] });
    await run.text('svid', 'unrevoke', byId.revocation_id);
    assert.equal((await run('svid', 'fetch')).code, 0);
    assert.deepEqual(await run.json('svid', 'revocations'), { revocations: [bySerial] });
    const again = await run('svid', 'unrevoke', byId.revocation_id);
    assert.match(again.err, /\(not_found\)/);
  });
});

describe('bundles by command', () => {
  test('are shown, set from both forms, listed and deleted', async () => {
    await using server = await startTestServer();
    await using partner = await startTestServer({ config: 'trust_domain: partner.test', entries: NO_ENTRIES });
    const run = cliOf(server);
    for (const format of ['pem', 'spiffe']) {
      const document = await cliOf(partner).text('bundle', 'show', '--format', format);
      await run.text('bundle', 'set', 'partner.test', await server.file(`partner.${format}`, document));
      const shown = await run.text('bundle', 'show', 'partner.test', '--format', format);
      assert.equal(shown, document);
    }
    const { bundles } = (await run.json('bundle', 'list')) as { bundles: object[] };
    assert.partialDeepStrictEqual(bundles, [
      { trust_domain: 'example.test', source: 'own', x509_authority_count: 1 },
      { trust_domain: 'partner.test', source: 'api', x509_authority_count: 1, jwt_authority_count: 1 },
    ]);
    assert.equal(await run.text('bundle', 'delete', 'partner.test'), 'deleted the bundle of partner.test\n');
    assert.equal((await run('bundle', 'show', 'partner.test')).code, 1);
    const own = await run('bundle', 'set', 'example.test', await server.file('own.pem', 'x'));
    assert.equal(own.code, 2);
    assert.match(own.err, /own trust domain/);
  });
});

describe('authorities by command', () => {
  interface Shown {
    readonly authorities: readonly { readonly kind: string; readonly state: string; readonly authority_id: string }[];
  }
  const idOf = ({ authorities }: Shown, kind: string, state: string): string =>
    authorities.find((slot) => slot.kind === kind && slot.state === state)?.authority_id ?? `no ${kind} is ${state}`;

  test('are prepared, activated, tainted and revoked, in this order only', async () => {
    await using server = await startTestServer();
    const run = cliOf(server);
    const kind = 'x509';
    const change = async (name: string, id: string) => (await run.json('authority', name, kind, id)) as Shown;
    const first = idOf((await run.json('authority', 'show')) as Shown, kind, 'active');
    assert.match((await run('authority', 'taint', kind, first)).err, /\(conflict\)/);
    const next = idOf((await run.json('authority', 'prepare', kind)) as Shown, kind, 'prepared');
    assert.equal(idOf(await change('activate', next), kind, 'active'), next);
    assert.match((await run('authority', 'revoke', kind, next)).err, /\(conflict\)/);
    assert.equal(idOf(await change('taint', first), kind, 'tainted'), first);
    assert.equal(idOf(await change('revoke', first), kind, 'revoked'), first);
    assert.match((await run('authority', 'activate', kind, 'abcdef')).err, /\(not_found\)/);
  });

  test('of JWT keys are prepared beside the active one', async () => {
    await using server = await startTestServer();
    const run = cliOf(server);
    const shown = (await run.json('authority', 'prepare', 'jwt')) as Shown;
    assert.notEqual(idOf(shown, 'jwt', 'prepared'), idOf(shown, 'jwt', 'active'));
    assert.match(await run.text('authority', 'show'), /^KIND +AUTHORITY ID +STATE .*\nx509 [^]*\njwt .* prepared /);
  });
});
