/** A generated page; `source` completes "edit …". */
export function page(title: string, source: string, paragraphs: readonly string[]): string {
  const note = `<!-- Written by tools/docs/generate.ts; edit ${source} instead. -->`;
  return `${[`# ${title}`, note, ...paragraphs].join('\n\n')}\n`;
}

export function codeBlock(language: string, lines: readonly string[]): string {
  return ['```' + language, ...lines, '```'].join('\n');
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
