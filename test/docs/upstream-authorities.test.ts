import assert from 'node:assert/strict';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { readConfig } from '../../src/config/index.ts';
import { silentLogger } from '../../src/core/index.ts';
import { startServer } from '../../src/server/index.ts';
import { baoPath } from '../../tools/setup/paths.mjs';
import { startOpenBao } from '../support/open-bao.ts';
import { assertServedSvid } from '../support/served-svid.ts';
import { entriesFor } from '../support/server.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { codeBlocks, readPage } from './markdown.ts';
import { missingPrograms, runShell } from './shell.ts';

const PAGE = 'docs/upstream-authorities.md';
const blocks = codeBlocks(PAGE, readPage(PAGE));
const ADDRESS = 'https://vault.acme.test:8200';

test('each configuration of the page runs on what the page sets up', { skip: missingPrograms('openssl') }, async () => {
  await using folder = await tempFolder();
  await using bao = await startOpenBao();
  await symlink(baoPath(), join(folder.path, 'bao'));
  const env = {
    ...process.env,
    PATH: `${folder.path}:${process.env['PATH'] ?? ''}`,
    BAO_ADDR: bao.address,
    BAO_TOKEN: bao.rootToken,
  };
  for (const { text } of blocks.filter(({ language }) => language === 'sh')) {
    const { code, stderr } = await runShell(text, { cwd: folder.path, env });
    assert.equal(code, 0, `${text}${stderr}`);
  }
  const configurations = blocks.filter(({ language, text }) => language === 'yaml' && text.startsWith('authority:'));
  assert.equal(configurations.length, 3);
  for (const [index, { text }] of configurations.entries()) {
    const file = join(folder.path, `svidgate-${index}.yaml`);
    await writeFile(join(folder.path, 'entries.yaml'), entriesFor('/orders'));
    const paths = { data_dir: `./data-${index}`, workload_socket: './api.sock', admin: { socket: './admin.sock' } };
    const more = { entries: './entries.yaml', telemetry: { listen: 'off' } };
    const config = parse(text.replaceAll(ADDRESS, bao.address)) as object;
    await writeFile(file, stringify({ trust_domain: 'example.test', ...paths, ...more, ...config }));
    const { value, mistakes } = await readConfig(file);
    assert.ok(value !== undefined, JSON.stringify(mistakes));
    const server = await startServer(value, { logger: silentLogger });
    try {
      // Under an intermediate of ours, and on disk one more.
      await assertServedSvid(join(folder.path, 'api.sock'), { intermediates: index === 0 ? 2 : 1 });
    } finally {
      await server.stop('the test is over');
    }
  }
});
