import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { generateKeyPair } from '../../src/pki/index.ts';
import { configFolder, serve } from '../support/cli.ts';
import { cliOf } from '../support/run-cli.ts';
import { startTestServer } from '../support/server.ts';

const NO_ENTRIES = 'entries: []\n';
const EC_KEY = generateKeyPair().publicKey.export({ format: 'jwk' });
const PARTNER_BUNDLE = JSON.stringify({
  keys: [{ ...EC_KEY, use: 'jwt-svid', kid: 'partner-key' }],
  spiffe_sequence: 5,
});

const SERVER_ID = 'spiffe://example.test/spire/server';

describe('entries by command', () => {
  test('are created, listed, shown, changed and deleted', async () => {
    await using server = await startTestServer({ entries: NO_ENTRIES });
    const run = cliOf(server);
    const id = 'spiffe://example.test/orders';
    const flags = ['--spiffe-id', id, '--selector', 'unix:uid:4242', '--selector', 'unix:gid:1', '--hint', 'h'];
    const made = await run.json('entry', 'create', ...flags, '--entry-id', 'orders', '--x509-svid-ttl', '1800');
    const expected = {
      entry_id: 'orders',
      spiffe_id: id,
      selectors: ['unix:gid:1', 'unix:uid:4242'],
      x509_svid_ttl: '30m',
      hint: 'h',
      source: 'api',
      revision: 0,
    };
    assert.partialDeepStrictEqual(made, expected);
    assert.deepEqual(await run.json('entry', 'list'), { entries: [made] });
    assert.deepEqual(await run.json('entry', 'list', '--selector', 'unix:uid:1'), { entries: [] });
    assert.match(await run.text('entry', 'list'), /^ENTRY ID +SPIFFE ID .*\norders +spiffe:\S+orders +unix:gid:1,unix/);
    assert.deepEqual(await run.json('entry', 'show', 'orders'), made);
    assert.match(await run.text('entry', 'show', 'orders'), /^X\.509-SVID TTL: +30m$/m);

    const change = ['--x509-svid-ttl', '10m', '--clear', 'hint', '--expect-revision', '0'];
    const changed = (await run.json('entry', 'update', 'orders', ...change)) as Record<string, unknown>;
    assert.partialDeepStrictEqual(changed, { x509_svid_ttl: '10m', revision: 1, selectors: expected.selectors });
    assert.equal('hint' in changed, false);
    assert.equal(await run.text('entry', 'delete', 'orders'), 'deleted orders\n');
    assert.equal(await run.text('entry', 'list'), 'no entries\n');
  });

  const REFUSED: readonly (readonly [readonly string[], number, RegExp])[] = [
    [['entry', 'show', 'nobody'], 1, /^svidgate: there is no entry nobody \(not_found\)\. /],
    [['entry', 'delete', 'nobody'], 1, /\(not_found\)/],
    [['entry', 'update', 'api', '--hint', 'x', '--expect-revision', '7'], 1, /\(conflict\)/],
    [['entry', 'delete', 'file'], 1, /\(conflict\)/],
    [
      ['entry', 'create', '--entry-id', 'api', '--spiffe-id', 'spiffe://example.test/b', '--selector', 'a:b'],
      1,
      /alre/,
    ],
    [['entry', 'create', '--spiffe-id', 'spiffe://other.test/b', '--selector', 'a:b'], 2, /spiffe_id.*example\.test/],
    [['entry', 'create', '--spiffe-id', 'orders', '--selector', 'a:b'], 2, /spiffe_id/],
    [['entry', 'create', '--spiffe-id', 'spiffe://example.test/b'], 2, /selectors/],
    [['entry', 'update', 'api', '--federates-with', 'unknown.test'], 2, /unknown\.test/],
    [['entry', 'update', 'api', '--x509-svid-ttl', '1ms'], 2, /x509_svid_ttl/],
    [['entry', 'list', '--spiffe-id', 'x'], 2, /spiffe_id/],
  ];
  test('that cannot be are refused with what is wrong, and nothing changes', async () => {
    const entry = { entry_id: 'file', spiffe_id: 'spiffe://example.test/file', selectors: ['unix:uid:77'] };
    await using server = await startTestServer({ entries: JSON.stringify({ entries: [entry] }) });
    const run = cliOf(server);
    await run.text(
      'entry',
      'create',
      '--entry-id',
      'api',
      '--spiffe-id',
      'spiffe://example.test/a',
      '--selector',
      'c:d',
    );
    const before = await run.json('entry', 'list');
    for (const [args, code, message] of REFUSED) {
      const refused = await run(...args);
      assert.match(refused.err, message, args.join(' '));
      assert.deepEqual([refused.code, refused.out], [code, ''], args.join(' '));
      assert.equal(refused.err.trimEnd().split('\n').length, 1, refused.err);
    }
    assert.deepEqual(await run.json('entry', 'list'), before);
  });

  test('are exported and imported again without loss, in both forms', async () => {
    await using server = await startTestServer({ entries: NO_ENTRIES });
    const run = cliOf(server);
    await run.text('bundle', 'set', 'partner.test', await server.file('partner.json', PARTNER_BUNDLE));
    const file = await server.file(
      'import.yaml',
      `entries:
  - entry_id: full
    spiffe_id: spiffe://example.test/full
    parent_id: spiffe://example.test/parent
    selectors: ["k8s:ns:a", "k8s:sa:b"]
    x509_svid_ttl: 30m
    jwt_svid_ttl: 90s
    hint: "ä hint"
    dns_names: [a.example.test, "*.b.example.test"]
    federates_with: [partner.test]
    expires_at: 2090-01-31T12:00:00Z
    jwt_svid_include_jti: true
    admin: true
    downstream: true
  - { entry_id: small, spiffe_id: spiffe://example.test/small, selectors: ["unix:uid:5"], store_svid: true }
`,
    );
    assert.equal(await run.text('entry', 'import', file), 'imported 2 entries\n');
    const listed = (await run.json('entry', 'list')) as { entries: Record<string, unknown>[] };
    for (const format of ['svidgate', 'spire']) {
      const exported = await server.file(`${format}.json`, await run.text('entry', 'export', '--format', format));
      await run.text('entry', 'delete', 'full', 'small');
      assert.equal(await run.text('entry', 'import', exported), 'imported 2 entries\n');
      const again = (await run.json('entry', 'list')) as typeof listed;
      // SPIRE wants a parent: its server's own ID stands for none.
      const comparable = ({ entries }: typeof listed) =>
        entries.map((entry) => ({ parent_id: SERVER_ID, ...entry, created_at: undefined }));
      assert.deepEqual(comparable(again), comparable(listed), format);
    }
    const twice = await run('entry', 'import', file);
    assert.equal(twice.code, 1);
    assert.match(twice.err, /already_exists/);
    assert.equal(await run.text('entry', 'import', file, '--replace'), 'imported 2 entries\n');
  });

  test('of a file with mistakes are not imported; every mistake is shown with its place', async () => {
    await using server = await startTestServer({ entries: NO_ENTRIES });
    const run = cliOf(server);
    const file = await server.file(
      'wrong.yaml',
      'entries:\n  - spiffe_id: spiffe://example.test/a\n    selectors: [x]\n  - spiffe_id: y\n    selectors: ["a:b"]\n',
    );
    const { code, err } = await run('entry', 'import', file);
    assert.equal(code, 2);
    assert.match(err, /wrong\.yaml:3:\d+: .*selectors/);
    assert.match(err, /wrong\.yaml:4:\d+: .*spiffe_id/);
    assert.equal(await run.text('entry', 'list'), 'no entries\n');
  });

  test('survive kill -9 right after the command returned', async () => {
    await using folder = await configFolder('admin: { socket: ./admin.sock }');
    const run = cliOf({ folder: folder.path });
    const ids: string[] = [];
    for (let round = 0; round < 2; round += 1) {
      await using server = serve(folder.path);
      await server.started();
      for (let count = 0; count < 3; count += 1) {
        const id = `e${round}${count}`;
        await run.text(
          'entry',
          'create',
          '--entry-id',
          id,
          '--spiffe-id',
          `spiffe://example.test/${id}`,
          '--selector',
          'a:b',
        );
        ids.push(id);
      }
      server.child.kill('SIGKILL');
      await server.ended;
    }
    await using server = serve(folder.path);
    await server.started();
    const { entries } = (await run.json('entry', 'list')) as { entries: { entry_id: string }[] };
    assert.deepEqual(
      entries.map(({ entry_id: id }) => id),
      ids,
    );
  });
});
