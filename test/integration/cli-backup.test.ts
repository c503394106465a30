import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { generateKeyPair } from '../../src/pki/index.ts';
import { configFolder, serve } from '../support/cli.ts';
import { cli, cliOf } from '../support/run-cli.ts';
import { startTestServer } from '../support/server.ts';

const NO_ENTRIES = 'entries: []\n';
const EC_KEY = generateKeyPair().publicKey.export({ format: 'jwk' });
const PARTNER_BUNDLE = JSON.stringify({
  keys: [{ ...EC_KEY, use: 'jwt-svid', kid: 'partner-key' }],
  spiffe_sequence: 5,
});

describe('backup and restore', () => {
  const PASSPHRASE = 'correct horse battery';

  test('bring the whole state to another machine: entries, bundles, keys', async () => {
    await using server = await startTestServer({ entries: NO_ENTRIES });
    const run = cliOf(server);
    await run.text('entry', 'create', '--entry-id', 'e', '--spiffe-id', 'spiffe://example.test/e', '--selector', 'a:b');
    await run.text('bundle', 'set', 'partner.test', await server.file('partner.json', PARTNER_BUNDLE));
    const passphrase = await server.file('passphrase', `${PASSPHRASE}\n`);
    const backup = join(server.folder, 'svidgate.backup');
    await run.text('backup', '--out', backup, '--passphrase-file', passphrase);
    assert.equal((await stat(backup)).mode & 0o777, 0o600);
    assert.doesNotMatch(await readFile(backup, 'latin1'), /example\.test|PRIVATE KEY/);

    await using folder = await configFolder('admin: { socket: ./admin.sock }');
    const restored = cliOf({ folder: folder.path });
    const flags = ['restore', '--in', backup, '--passphrase-file', passphrase];
    assert.match(await restored.text(...flags), /^restored the state of \S+ \(\d+s ago\) with [2-9] keys\n$/);
    await using there = serve(folder.path);
    await there.started();
    const running = await restored(...flags);
    assert.deepEqual([running.code, running.out], [1, '']);
    assert.match(running.err, /\(already_running\)/);
    for (const command of [
      ['entry', 'list'],
      ['bundle', 'show', 'partner.test'],
      ['bundle', 'show'],
    ]) {
      assert.deepEqual(await restored.json(...command), await run.json(...command), command.join(' '));
    }
  });

  test('never undo a newer revocation', async () => {
    await using folder = await configFolder('admin: { socket: ./admin.sock }');
    const run = cliOf({ folder: folder.path });
    const passphrase = join(folder.path, 'passphrase');
    const backup = join(folder.path, 'svidgate.backup');
    await writeFile(passphrase, PASSPHRASE);
    {
      await using server = serve(folder.path);
      await server.started();
      await run.text('backup', '--out', backup, '--passphrase-file', passphrase);
      await run.text('svid', 'revoke', '--spiffe-id', 'spiffe://example.test/stolen');
      server.child.kill('SIGTERM');
      await server.ended;
    }
    await run.text('restore', '--in', backup, '--passphrase-file', passphrase);
    const audited = await readFile(join(folder.path, 'data/audit/audit.jsonl'), 'utf8');
    const last = JSON.parse(audited.trimEnd().split('\n').at(-1)!) as Record<string, unknown>;
    assert.deepEqual(
      [last['event'], last['result'], last['caller_uid']],
      ['state_restored', 'success', process.getuid!()],
    );
    await using server = serve(folder.path);
    await server.started();
    assert.match(await run.text('svid', 'revocations'), /spiffe:\/\/example\.test\/stolen/);
  });

  test('refuse a wrong passphrase, a damaged file and another trust domain; nothing is touched', async () => {
    await using server = await startTestServer({ entries: NO_ENTRIES });
    const backup = join(server.folder, 'svidgate.backup');
    const passphrase = await server.file('passphrase', PASSPHRASE);
    await cliOf(server).text('backup', '--out', backup, '--passphrase-file', passphrase);
    await using folder = await configFolder();
    const file = async (name: string, content: string | Uint8Array): Promise<string> => {
      await writeFile(join(folder.path, name), content);
      return join(folder.path, name);
    };
    const bytes = await readFile(backup);
    const cases = [
      { backup, passphrase: await file('wrong', 'another passphrase'), config: '', code: 2, message: /passphrase/ },
      { backup: await file('cut', bytes.subarray(0, -9)), passphrase, config: '', code: 2, message: /cut/ },
      { backup: await file('other', 'not a backup'), passphrase, config: '', code: 2, message: /backup/ },
      { backup, passphrase, config: 'trust_domain: other.test\n', code: 1, message: /trust domain example\.test/ },
      { backup: join(folder.path, 'nothing'), passphrase, config: '', code: 1, message: /cannot be read/ },
    ];
    for (const { backup: from, passphrase: secret, config, code: expected, message } of cases) {
      const text = (await readFile(join(folder.path, 'svidgate.yaml'), 'utf8')).replace(/^trust_domain.*\n/, '');
      const yaml = await file('case.yaml', `${config === '' ? 'trust_domain: example.test\n' : config}${text}`);
      const { code, err } = await cli('restore', '--config', yaml, '--in', from, '--passphrase-file', secret);
      assert.match(err, message);
      assert.equal(code, expected, err);
    }
    assert.equal((await readdir(folder.path)).includes('data'), false);
  });
});
