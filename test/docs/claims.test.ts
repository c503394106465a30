import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../../tools/setup/paths.mjs';
import { layerViolations } from '../../tools/check/layers.ts';
import { localLinks, markdownPages, readPage } from './markdown.ts';

/** Cells of every table row of a page whose first cell is not a heading's. */
function rowsOf(page: string): readonly (readonly string[])[] {
  const lines = readPage(page)
    .split('\n')
    .filter((line) => line.startsWith('| '));
  return lines.map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );
}

function codeIn(cell = ''): readonly string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text);
}

interface PackageFile {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly license: string;
}

function readPackage(path: string): PackageFile {
  return JSON.parse(readFileSync(join(root, path), 'utf8')) as PackageFile;
}

test('each bound of the threat model stands in the code as written', () => {
  const bounds = rowsOf('docs/threat-model.md').filter(([, , where]) => where?.startsWith('`src/'));
  assert.ok(bounds.length >= 30);
  for (const [what, , where] of bounds) {
    const [file = '', code = ''] = codeIn(where);
    assert.ok(readFileSync(join(root, file), 'utf8').includes(code), `${what}: ${file} has no ${code}`);
  }
});

test('docs/dependencies.md has a line for each dependency and no other, with its licence', () => {
  const rows = rowsOf('docs/dependencies.md').filter((cells) => cells.length === 5);
  const listed = new Map(rows.flatMap((cells) => codeIn(cells[0]).map((name) => [name, cells] as const)));
  const { dependencies, devDependencies } = readPackage('package.json');
  const all = Object.keys({ ...dependencies, ...devDependencies }).sort();
  assert.deepEqual([...listed.keys()].sort(), all);
  for (const [name, cells] of listed) {
    assert.equal(cells[3], readPackage(`node_modules/${name}/package.json`).license, name);
    assert.ok(
      cells.every((cell) => cell !== ''),
      name,
    );
  }
});

test('docs/architecture.md has every room of src/, in the layer that the check knows', () => {
  const rows = rowsOf('docs/architecture.md').filter(([layer]) => /^\d$/.test(layer ?? ''));
  const rooms = new Map(rows.flatMap(([layer, names]) => codeIn(names).map((room) => [room, Number(layer)] as const)));
  const folders = readdirSync(join(root, 'src')).flatMap((name) =>
    name === 'endpoints' ? readdirSync(join(root, 'src/endpoints')).map((endpoint) => `endpoints/${endpoint}`) : [name],
  );
  assert.deepEqual([...rooms.keys()].sort(), folders.sort());
  for (const [low, lowLayer] of rooms) {
    for (const [high, highLayer] of rooms) {
      if (lowLayer >= highLayer || low.startsWith('endpoints/')) continue;
      const text = `import type { X } from '../${high}/index.ts';`;
      assert.notDeepEqual(layerViolations([{ path: `src/${low}/a.ts`, text }]), [], `${low} must not import ${high}`);
    }
  }
});

test('README.md leads to each page of docs/', () => {
  const targets = new Set(localLinks(readPage('README.md')).map((target) => target.split('#')[0]));
  const pages = markdownPages().filter((page) => page.startsWith('docs/') && !page.startsWith('docs/decisions/'));
  assert.deepEqual(
    pages.filter((page) => !targets.has(page)),
    [],
  );
});

test('the messages that docs/workload-api.md has for each error stand in the code', () => {
  const messages = rowsOf('docs/workload-api.md').flatMap(([, code, message]) =>
    /^[A-Z][A-Za-z]+$/.test(code ?? '') ? codeIn(message) : [],
  );
  assert.ok(messages.length >= 8);
  const sources = globSync('src/{endpoints/workload-api,spiffe}/*.ts', { cwd: root });
  const code = sources.map((file) => readFileSync(join(root, file), 'utf8')).join('\n');
  // Numbers and what follows a colon are put in while it runs.
  for (const message of messages) {
    for (const part of message.split(/ \d+ |…/)) assert.ok(code.includes(part.trim()), message);
  }
});

test('no page of ours names a place that only one machine or mirror has', () => {
  for (const page of markdownPages()) {
    assert.doesNotMatch(readPage(page), /\/work\/|\/tmp\/|\/home\//, page);
  }
});
