import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parseConfig, renderConfigReference } from '../../../src/config/index.ts';

const PAGE = new URL('../../../docs/reference/configuration.md', import.meta.url);

test('the reference page ends with the table of every key, as the schema has it', async () => {
  const page = await readFile(PAGE, 'utf8');
  assert.ok(
    page.endsWith(`\n${renderConfigReference()}`),
    'run `svidgate config reference` and put its output at the end of docs/reference/configuration.md',
  );
});

test('the example of the reference page is a valid configuration', async () => {
  const page = await readFile(PAGE, 'utf8');
  const blocks = [...page.matchAll(/```yaml\n# svidgate\.yaml\n(.*?)```/gs)];
  assert.ok(blocks.length > 0);
  for (const [, text = ''] of blocks) {
    assert.deepEqual(parseConfig(text, '/etc/svidgate/svidgate.yaml').mistakes, undefined);
  }
});
