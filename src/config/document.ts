import { explainIssue } from './explain.ts';
import type { Field } from './fields.ts';
import { sortMistakes, type Mistake, type Parsed } from './mistake.ts';
import { parseYamlTree } from './yaml-tree.ts';

/**
 * Parses and checks one YAML document. Reports every mistake in the order of the text: syntax, duplicate and unknown
 * keys (with the nearest known one), wrong types, missing keys, values out of range, and what the schema checks between
 * fields. Never throws because of the text. Mappings in it cannot reach Object.prototype; aliases cannot blow it up.
 */
export function parseYamlDocument<T>(options: {
  readonly text: string;
  /** Only shown in the mistakes. */
  readonly file: string;
  readonly schema: Field<T>;
}): Parsed<T> {
  const { file, schema } = options;
  const tree = parseYamlTree(options.text, file);
  const mistakes: Mistake[] = [...tree.mistakes];
  if (tree.value !== undefined) {
    const result = schema.safeParse(tree.value);
    if (result.success && mistakes.length === 0) {
      return { value: result.data, placeOf: (path) => tree.placeOf(path, 'value') };
    }
    for (const issue of result.error?.issues ?? []) mistakes.push(...explainIssue(issue, { file, tree, schema }));
  }
  const [first, ...others] = sortMistakes(mistakes);
  if (first === undefined) throw new Error('a refused document has at least one mistake');
  return { mistakes: [first, ...others] };
}
