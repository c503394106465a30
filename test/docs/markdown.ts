import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../tools/setup/paths.mjs';

/** A fenced code block of a page. */
export interface CodeBlock {
  /** Relative to the root of the clone. */
  readonly page: string;
  /** Of the opening fence, counting from 1. */
  readonly line: number;
  /** First word of the info string; empty when there is none. */
  readonly language: string;
  readonly text: string;
  /** The file that a first line such as `# quickstart/entries.yaml` names. */
  readonly file: string | undefined;
}

const NOT_OURS = [
  'node_modules',
  'tools/node',
  'tools/venv',
  'tools/older-envoy',
  'tools/.cache',
  'dist',
  '.git',
  'quickstart',
];

/** Every Markdown page of the repository, relative to its root. */
export function markdownPages(): readonly string[] {
  return globSync('**/*.md', { cwd: root, exclude: (path) => NOT_OURS.includes(path) }).sort();
}

export function readPage(page: string): string {
  return readFileSync(join(root, page), 'utf8');
}

/** The fenced blocks of a page. Throws for a fence that is never closed. */
export function codeBlocks(page: string, text: string): readonly CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open:
    { readonly fence: string; readonly indent: number; readonly info: string; readonly line: number } | undefined;
  let lines: string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const [, indent = '', fence, info = ''] = /^( *)(`{3,}|~{3,})(.*)$/.exec(line) ?? [];
    if (open === undefined) {
      if (fence === undefined) continue;
      open = { fence, indent: indent.length, info: info.trim(), line: index + 1 };
      lines = [];
    } else if (fence?.startsWith(open.fence) === true && info.trim() === '') {
      blocks.push(toBlock(page, open, lines));
      open = undefined;
    } else {
      lines.push(line.slice(Math.min(open.indent, line.search(/\S|$/))));
    }
  }
  if (open !== undefined) throw new Error(`${page}:${open.line}: the fence is not closed`);
  return blocks;
}

function toBlock(
  page: string,
  open: { readonly info: string; readonly line: number },
  lines: readonly string[],
): CodeBlock {
  const [, file] = /^# ([\w./-]+\.(?:yaml|yml|rego|json))$/.exec(lines[0] ?? '') ?? [];
  const [language = ''] = open.info.split(/\s+/);
  return { page, line: open.line, language, text: `${lines.join('\n')}\n`, file };
}

/** Targets of inline links, without those to other sites. */
export function localLinks(text: string): readonly string[] {
  const prose = text.replaceAll(/^( *)(`{3,})[\s\S]*?^\1\2$/gm, '').replaceAll(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** The anchors that GitHub makes for the headings of a page. */
export function anchors(text: string): ReadonlySet<string> {
  const headings = [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}
