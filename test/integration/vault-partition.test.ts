import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readConfig } from '../../src/config/index.ts';
import { silentLogger, type LogFields, type Logger } from '../../src/core/index.ts';
import { startServer, type RunningServer } from '../../src/server/index.ts';
import { startOpenBao } from '../support/open-bao.ts';
import { assertServedSvid } from '../support/served-svid.ts';
import { entriesFor } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';

test('with the upstream away, identities are issued, also after a restart, and the CA is rotated once it is back', async () => {
  await using folder = await tempFolder();
  await using bao = await startOpenBao();
  await bao.call('POST', 'sys/mounts/pki', { type: 'pki', config: { max_lease_ttl: '87600h' } });
  await bao.call('POST', 'pki/root/generate/internal', { common_name: 'root', key_type: 'ec', ttl: '87600h' });
  const file = (name: string): string => join(folder.path, name);
  await writeFile(file('token'), bao.rootToken, { mode: 0o600 });
  await writeFile(file('entries.yaml'), entriesFor('/orders'));
  await writeFile(
    file('svidgate.yaml'),
    `trust_domain: example.test
data_dir: ./data
workload_socket: ./api.sock
admin: { socket: ./admin.sock }
entries: ./entries.yaml
telemetry: { listen: off }
authority:
  ca_ttl: 40s
  x509_svid_ttl: 10s
  jwt_svid_ttl: 10s
  upstream: { vault: { address: "${bao.address}", mount: pki, auth: { token_file: ./token } } }
`,
  );
  const lines: (LogFields & { readonly message: string })[] = [];
  const write = (fields: LogFields, message: string): void => void lines.push({ ...fields, message });
  const logger: Logger = { ...silentLogger, info: write, warn: write, error: write, child: () => logger };
  const start = async (): Promise<RunningServer> => {
    const { value, mistakes } = await readConfig(file('svidgate.yaml'));
    assert.ok(value !== undefined, JSON.stringify(mistakes));
    return await startServer(value, { logger });
  };
  const socket = file('api.sock');
  let server = await start();
  try {
    const first = await assertServedSvid(socket, { intermediates: 1 });
    await bao.stop();
    await assertServedSvid(socket, { intermediates: 1 });
    await server.stop('restart');
    server = await start();
    assert.notEqual(await assertServedSvid(socket, { intermediates: 1 }), first);
    const away = (): boolean => lines.some(({ reason }) => reason?.includes('cannot be reached') ?? false);
    await waitUntil('the warning', 40_000, away);
    await assertServedSvid(socket, { intermediates: 1 });
    const token = await readFile(file('token'), 'utf8');
    assert.ok(!JSON.stringify(lines).includes(token), 'no token in the log');
    await bao.start();
    const rotated = (): boolean =>
      lines.some(({ reason, message }) => message === 'ca rotated' && reason === 'prepared');
    lines.length = 0;
    await waitUntil('the next CA', 60_000, rotated);
    await assertServedSvid(socket, { intermediates: 1 });
    assert.ok(!JSON.stringify(lines).includes(token), 'no token in the log');
  } finally {
    await server.stop('the test is over');
  }
});
