import { visibleText } from './visible-text.ts';

/** Between two columns. */
const GAP = '   ';

/** Rows under a heading, in aligned columns; `none` when there are no rows. Ends with a line feed. */
export function formatTable(heading: readonly string[], rows: readonly (readonly string[])[], none = 'none'): string {
  if (rows.length === 0) return `${none}\n`;
  const cells = [heading, ...rows].map((row) => row.map((cell) => (cell === '' ? '-' : visibleText(cell))));
  const widths = heading.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return alignRows(cells, widths);
}

/** `name: value` lines with the values aligned; a list gives a line for each of its values. Empty values are left out. */
export function formatFields(fields: Readonly<Record<string, string | readonly string[] | undefined>>): string {
  const rows = Object.entries(fields).flatMap(([name, value]) =>
    [value ?? []]
      .flat()
      .filter((line) => line !== '')
      .map((line, index) => [index === 0 ? `${name}:` : '', visibleText(line)]),
  );
  return alignRows(rows, [Math.max(0, ...rows.map(([name = '']) => name.length))]);
}

function alignRows(rows: readonly (readonly string[])[], widths: readonly number[]): string {
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join(GAP)
          .trimEnd()}\n`,
    )
    .join('');
}
