import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { formatMistake, readTextFile, type Mistake } from '../config/index.ts';
import { readSteady, SvidgateError } from '../core/index.ts';
import { parseRules } from './rules-schema.ts';
import { rulesToRego } from './rules-to-rego.ts';
import { rulesToTests } from './rules-tests.ts';

/** What a rules file becomes: a policy as people write it, with its tests. */
export interface RulesPolicy {
  /** By file name. */
  readonly modules: Readonly<Record<string, string>>;
  readonly tests: Readonly<Record<string, string>>;
  /** With slashes: what decides. */
  readonly entrypoint: string;
}

export type TranslatedRules =
  | { readonly policy: RulesPolicy; readonly mistakes?: never }
  | { readonly mistakes: readonly [Mistake, ...Mistake[]]; readonly policy?: never };

/** What is shipped, and each module of rules imports. Holds for src/authoring and for dist/authoring. */
const PATHS_MODULE = new URL('../../policies/rego/paths.rego', import.meta.url);
const MAX_RULES_BYTES = 4 * 2 ** 20;
const MAX_SHOWN = 20;

/** Throws `file_unreadable` when the shipped module is not there. */
export async function translateRules(text: string, file: string): Promise<TranslatedRules> {
  const parsed = parseRules(text, file);
  if (parsed.mistakes !== undefined) return { mistakes: parsed.mistakes };
  const rules = parsed.value;
  return {
    policy: {
      modules: { 'rules.rego': rulesToRego(rules), 'paths.rego': await readShipped() },
      tests: { 'rules_test.rego': rulesToTests(rules) },
      entrypoint: `${rules.package.replaceAll('.', '/')}/allow`,
    },
  };
}

/** Throws `policy_invalid` with the mistakes, and `file_unreadable`. */
export async function readRules(path: string): Promise<RulesPolicy> {
  const file = await readSteady(path, () => readTextFile(path, { maxBytes: MAX_RULES_BYTES }));
  // It may be there again at the next look.
  if (file.mistake !== undefined) throw new SvidgateError('file_unreadable', `${path}: ${file.mistake.message}`);
  const { policy, mistakes } = await translateRules(file.text, basename(path));
  if (policy !== undefined) return policy;
  const shown = mistakes.slice(0, MAX_SHOWN).map(formatMistake);
  const more = mistakes.length > MAX_SHOWN ? [`and ${mistakes.length - MAX_SHOWN} more`] : [];
  throw new SvidgateError('policy_invalid', [...shown, ...more].join('; '));
}

async function readShipped(): Promise<string> {
  try {
    return await readFile(PATHS_MODULE, 'utf8');
  } catch (cause) {
    throw new SvidgateError('file_unreadable', 'the shipped policies/rego/paths.rego cannot be read', { cause });
  }
}
