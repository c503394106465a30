import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { root } from '../../tools/setup/paths.mjs';
import { anchors, codeBlocks, localLinks, markdownPages, readPage } from './markdown.ts';
import { TREATMENTS } from './treatments.ts';

const pages = markdownPages();

test('the pages that everybody looks for are there', () => {
  for (const page of ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md']) assert.ok(pages.includes(page));
  assert.ok(!pages.some((page) => page.includes('node_modules')));
});

for (const page of pages) {
  const text = readPage(page);
  const blocks = codeBlocks(page, text);

  describe(page, () => {
    for (const block of blocks) {
      const treatment = TREATMENTS.find(({ takes }) => takes(block));
      test(`line ${block.line}: ${treatment?.name ?? 'a code block of an unknown kind'}`, async () => {
        assert.ok(treatment, `nothing in test/docs/treatments.ts takes this block:\n${block.text}`);
        await treatment.check(block, blocks);
      });
    }

    test('each link leads somewhere', () => {
      for (const target of localLinks(text)) {
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? page : join(dirname(page), path);
        assert.ok(existsSync(join(root, file)), `${target} does not exist`);
        assert.ok(!relative(root, join(root, file)).startsWith('..'), `${target} leaves the repository`);
        if (anchor !== undefined) assert.ok(anchors(readPage(file)).has(anchor), `${target} has no such heading`);
      }
    });
  });
}
