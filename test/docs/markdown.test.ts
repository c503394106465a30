import assert from 'node:assert/strict';
import { test } from 'node:test';
import { anchors, codeBlocks, localLinks } from './markdown.ts';
import { consoleSteps } from './shell.ts';
import { TREATMENTS } from './treatments.ts';

const FENCE = '```';

test('blocks are found with their language, line, text and the file they name', () => {
  const cases = [
    {
      text: `a\n${FENCE}yaml title=x\n# a/b.yaml\nk: 1\n${FENCE}\n`,
      found: { line: 2, language: 'yaml', text: '# a/b.yaml\nk: 1\n', file: 'a/b.yaml' },
    },
    { text: `- x\n\n  ${FENCE}sh\n  ls\n    -l\n  ${FENCE}\n`, found: { line: 3, language: 'sh', text: 'ls\n  -l\n' } },
    { text: `~~~\n${FENCE}\n~~~\n`, found: { line: 1, language: '', text: `${FENCE}\n` } },
    { text: `${FENCE}yaml\n# a sentence about a.yaml\n${FENCE}\n`, found: { line: 1, language: 'yaml' } },
  ];
  for (const { text, found } of cases) {
    const [block, ...others] = codeBlocks('page.md', text);
    assert.deepEqual(others, []);
    assert.deepEqual({ ...block, ...found }, block);
    assert.equal(block?.file, found.file);
  }
});

test('a fence that is never closed is an error with its place', () => {
  assert.throws(() => codeBlocks('page.md', `a\n${FENCE}sh\nls\n`), /page\.md:2/);
});

test('a block of an unknown kind has no treatment', () => {
  const blocks = [
    `${FENCE}python\nprint()\n${FENCE}`,
    `${FENCE}ts\nf();\n${FENCE}`,
    `${FENCE}\nplain\n${FENCE}`,
    `${FENCE}text\nsome output\n${FENCE}`,
    `${FENCE}yaml\nunknown_key: 1\n${FENCE}`,
    `${FENCE}json\n{"a": 1}\n${FENCE}`,
    `${FENCE}sh\nrm -r x\n${FENCE}`,
    `${FENCE}sh\nnpm run check\nnpm run unknown\n${FENCE}`,
  ].flatMap((text) => codeBlocks('docs/page.md', text));
  for (const block of blocks) {
    assert.equal(TREATMENTS.find(({ takes }) => takes(block))?.name, undefined, block.text);
  }
});

test('a block that is wrong is refused by its treatment', async () => {
  const blocks = [
    `${FENCE}yaml\ntrust_domain: Not A Domain\n${FENCE}`,
    `${FENCE}yaml\nentries: [{ spiffe_id: 'spiffe://prod.acme.test/a', selectors: [] }]\n${FENCE}`,
    `${FENCE}yaml\nstatic_resources: { listeners: [{ nme: x }] }\n${FENCE}`,
    `${FENCE}rego\npackage a\nallow if {\n${FENCE}`,
    `${FENCE}json\n{"level": "info", "msg": "never said"}\n${FENCE}`,
    `${FENCE}text\nsvidgate_no_such_metric 1\n${FENCE}`,
    `${FENCE}mermaid\nflowchart LR\n  policy --> no_such_room\n${FENCE}`,
    `${FENCE}console\n$ svidgate --version\n9.9.9\n${FENCE}`,
  ].flatMap((text) => codeBlocks('docs/page.md', text));
  for (const block of blocks) {
    const treatment = TREATMENTS.find(({ takes }) => takes(block));
    assert.ok(treatment, block.text);
    await assert.rejects(treatment.check(block, [block]), block.text);
  }
});

test('a console block is commands, each with its output', () => {
  assert.deepEqual(consoleSteps('$ a\n1\n2\n$ b\n'), [
    { command: 'a', output: '1\n2\n' },
    { command: 'b', output: '' },
  ]);
  assert.throws(() => consoleSteps('output first\n$ a\n'));
});

test('links and anchors are read as GitHub reads them', () => {
  assert.deepEqual(localLinks('[a](x.md#b) `[c](d)` [e](https://example.org)'), ['x.md#b']);
  assert.deepEqual([...anchors('# A page\n\n## `on_error`, and more\n')], ['a-page', 'on_error-and-more']);
});
