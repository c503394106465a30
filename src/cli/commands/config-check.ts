import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  formatMistake,
  readConfig,
  type Config,
  type DocumentPath,
  type Mistake,
  type Place,
  type PolicyVerifyConfig,
} from '../../config/index.ts';
import { SvidgateError } from '../../core/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { formatMistakes } from '../print-mistakes.ts';
import type { OutputFormat, Terminal } from '../terminal.ts';

export interface ConfigCheckOptions {
  readonly file: string;
  readonly output: OutputFormat;
  readonly terminal: Terminal;
}

/**
 * Prints every mistake of the configuration, and when it has none, those of the files it names. What may not be meant goes
 * to standard error.
 */
export async function configCheck({ file, output, terminal }: ConfigCheckOptions): Promise<ExitCode> {
  const { mistakes, notes } = await findMistakes(file);
  for (const note of notes) terminal.err(`${formatMistake(note)}\n`);
  terminal.out(formatMistakes(file, mistakes, output));
  return mistakes.length === 0 ? EXIT.done : EXIT.wrongUsage;
}

interface Findings {
  readonly mistakes: readonly Mistake[];
  /** What is right and may not be what was meant. */
  readonly notes: readonly Mistake[];
}

async function findMistakes(file: string): Promise<Findings> {
  const parsed = await readConfig(file);
  if (parsed.mistakes !== undefined) return { mistakes: parsed.mistakes, notes: [] };
  const config = parsed.value;
  const context: CheckContext = { file, config, placeOf: parsed.placeOf };
  const mistakes = [
    ...(await checkEntries(context)),
    ...(await checkDescriptors(context)),
    ...(await checkPolicies(context)),
  ];
  return { mistakes, notes: unenforcedNotes(context) };
}

const LONG_MS = 90 * 86_400_000;

/** Policies whose time without enforcement has passed, or is far. */
function unenforcedNotes({ file, config, placeOf }: CheckContext): readonly Mistake[] {
  return [...(config.authz?.policies ?? [])].flatMap(([name, { unenforcedUntil: until }]) => {
    if (until === undefined) return [];
    const place = placeOf(['authz', 'policies', name, 'unenforced', 'until']);
    const left = until - Date.now();
    if (left <= 0) {
      const message = `policy \`${name}\` is enforced: the time has passed`;
      return [{ file, ...place, message, remedy: 'leave `unenforced` out, or choose a later time' }];
    }
    if (left <= LONG_MS) return [];
    const message = `policy \`${name}\` lets everything through for more than 90 days`;
    return [{ file, ...place, message, remedy: 'choose an earlier time' }];
  });
}

interface CheckContext {
  /** As it was named on the command line. */
  readonly file: string;
  readonly config: Config;
  readonly placeOf: (path: DocumentPath) => Place;
}

async function checkEntries({ config }: CheckContext): Promise<readonly Mistake[]> {
  if (config.entriesFile === undefined) return [];
  const { checkEntriesFile } = await import('../../registration/index.ts');
  return checkEntriesFile(config.entriesFile, config.trustDomain);
}

async function checkDescriptors({ file, config, placeOf }: CheckContext): Promise<readonly Mistake[]> {
  const path = config.authz?.protoDescriptorFile;
  if (path === undefined) return [];
  const { parseDescriptorSet } = await import('../../proto/index.ts');
  try {
    parseDescriptorSet(await readFile(path));
    return [];
  } catch (error) {
    const message = `\`authz.proto_descriptor\` cannot be read: ${SvidgateError.from(error).message}`;
    const remedy = 'name a file that `protoc --include_imports -o FILE` or `buf build -o FILE` wrote';
    return [{ file, ...placeOf(['authz', 'proto_descriptor']), message, remedy }];
  }
}

async function checkPolicies({ file, config, placeOf }: CheckContext): Promise<readonly Mistake[]> {
  if (config.authz === undefined) return [];
  const { checkPolicyFolder } = await import('../../policy/index.ts');
  const mistakes: Mistake[] = [];
  for (const [name, { path, entrypoint, verify }] of config.authz.policies) {
    const mistake = await checkPolicyKeys(verify);
    if (mistake !== undefined) mistakes.push({ file, ...placeOf(['authz', 'policies', name, 'verify']), ...mistake });
    // What its source gives is checked when it comes.
    if (path === undefined || mistake !== undefined) continue;
    const rules = verify === undefined ? {} : { verify };
    const checked = { path, entrypoint, asksNetwork: config.authz.httpSend !== undefined, ...rules };
    for (const problem of await checkPolicyFolder(checked, new AbortController().signal)) {
      const message = `policy \`${name}\`: ${problem.code}: ${problem.message}`;
      if (problem.file === '') {
        // It has no file of its own: the place is the key that names what is wrong.
        const key = problem.code === 'entrypoint' ? 'entrypoint' : 'path';
        const remedy =
          key === 'path' ? 'name a folder with Rego, or a bundle, that svidgate can read' : 'name a rule of the policy';
        mistakes.push({ file, ...placeOf(['authz', 'policies', name, key]), message, remedy });
      } else {
        // A policy may be one file, which is then its own folder.
        const source = basename(path) === problem.file && path.endsWith('.rego') ? path : join(path, problem.file);
        const place = { line: Math.max(1, problem.line), column: Math.max(1, problem.column) };
        mistakes.push({ file: source, ...place, message, remedy: 'correct the policy here' });
      }
    }
  }
  return mistakes;
}

async function checkPolicyKeys(
  verify: PolicyVerifyConfig | undefined,
): Promise<Pick<Mistake, 'message' | 'remedy'> | undefined> {
  if (verify === undefined) return undefined;
  const { loadVerification } = await import('../../policy/index.ts');
  try {
    await loadVerification(verify);
    return undefined;
  } catch (error) {
    return {
      message: SvidgateError.from(error).message,
      remedy: 'name a key that fits its algorithm in `authz.policy_keys`',
    };
  }
}
