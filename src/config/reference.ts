import { walkFields } from './field-walk.ts';
import { configSchema } from './schema.ts';

/** One key of svidgate.yaml as the reference page lists it. */
export interface ReferenceRow {
  /** Such as `authz.policies.NAME.path`. */
  readonly key: string;
  readonly description: string;
  /** Completes "expected …". */
  readonly expected: string;
  /** As written in the file; `required` or `none` when there is no default. */
  readonly defaultText: string;
}

/** Every key with its limits and default, from the schema itself. Sections are left out where their keys say it all. */
export function configReference(): ReferenceRow[] {
  const rows: ReferenceRow[] = [];
  for (const [key, { info, keys, isOptional }] of walkFields(configSchema('.'))) {
    if (info === undefined || (keys !== undefined && !isOptional)) continue;
    const { description, expected } = info;
    const defaultText = info.defaultText ?? (isOptional ? 'none' : 'required');
    rows.push({ key, description, expected: keys === undefined ? expected : 'a mapping', defaultText });
  }
  return rows;
}

/** The rows as a Markdown table with its columns aligned. */
export function renderConfigReference(): string {
  const rows = configReference().map(({ key, description, expected, defaultText }) => {
    const isWord = defaultText === 'required' || defaultText === 'none';
    return [`\`${key}\``, description, expected, isWord ? defaultText : `\`${defaultText}\``];
  });
  const table = [['key', 'what it does', 'value', 'default'], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((cells) => cells[column]?.length ?? 0)));
  const [head = '', ...body] = table.map((cells) => {
    return `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  });
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [head, rule, ...body, ''].join('\n');
}
