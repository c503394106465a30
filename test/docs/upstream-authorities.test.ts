import assert from 'node:assert/strict';
import { chmod, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import {
  createDiskUpstream,
  createVaultClient,
  createVaultPkiUpstream,
  createVaultTransitKeyManager,
} from '../../src/authority/index.ts';
import { readConfig, type AuthorityConfig } from '../../src/config/index.ts';
import { noMetrics, silentLogger, systemClock } from '../../src/core/index.ts';
import { baoPath } from '../../tools/setup/paths.mjs';
import { startOpenBao } from '../support/open-bao.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { assertChainHolds, mint } from '../support/upstream-authority-contract.ts';
import { codeBlocks, readPage } from './markdown.ts';
import { missingPrograms, runShell } from './shell.ts';

const PAGE = 'docs/upstream-authorities.md';
const blocks = codeBlocks(PAGE, readPage(PAGE));
const common = { clock: systemClock, logger: silentLogger, metrics: noMetrics };

test('what the page sets up is what svidgate needs', { skip: missingPrograms('openssl') }, async () => {
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

  const [onDisk, , both] = blocks.filter(({ language }) => language === 'yaml').map(({ text }) => text);
  const disk = (await configOf(onDisk ?? '', folder.path)).upstream;
  assert.ok(disk?.kind === 'disk');
  const { minted, signer } = await mint(await createDiskUpstream({ ...disk, ...common }));
  await assertChainHolds(minted, signer);
  assert.equal(minted.chain.length, 2);

  const text = (both ?? '').replaceAll('https://vault.acme.test:8200', bao.address);
  const { keyManager, upstream } = await configOf(text, folder.path);
  assert.ok(keyManager.kind === 'vault' && upstream?.kind === 'vault');
  const client = createVaultClient({ ...upstream.vault, ...common });
  const keys = createVaultTransitKeyManager({
    ...keyManager,
    client: createVaultClient({ ...keyManager.vault, ...common }),
  });
  try {
    const vault = await mint(createVaultPkiUpstream({ ...common, client, mount: upstream.mount }));
    await assertChainHolds(vault.minted, vault.signer);
    const key = await keys.generate('ca', 'ec-p256');
    await key.sign(Buffer.from('data'));
    assert.deepEqual(await keys.list(), ['ca']);
    await keys.remove('ca');
  } finally {
    await keys.close();
    await client.close();
  }
});

async function configOf(text: string, folder: string): Promise<AuthorityConfig> {
  const file = join(folder, 'svidgate.yaml');
  await writeFile(file, JSON.stringify({ trust_domain: 'example.test', ...(parse(text) as object) }));
  await chmod(file, 0o600);
  const { value, mistakes } = await readConfig(file);
  assert.equal(mistakes, undefined);
  assert.ok(value !== undefined);
  return value.authority;
}
