import { formatMistake, readConfig, readTextFile } from '../../config/index.ts';
import { checkEnvoyFiles, type EnvoyFileFindings, type KnownConfig } from '../../offload/index.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { formatMistakes } from '../print-mistakes.ts';
import type { OutputFormat, Terminal } from '../terminal.ts';

const LIMITS = { maxBytes: 16 * 1024 * 1024 };

export interface CheckEnvoyOptions {
  /** Configurations of one Envoy. */
  readonly files: readonly string[];
  /** Of svidgate, for the names of policies and of trust bundles. */
  readonly config?: string;
  readonly output: OutputFormat;
  readonly terminal: Terminal;
}

/**
 * Prints what in the configuration of an Envoy makes the offload unsafe or keeps it from working. What may not be meant, and
 * what was not judged, goes to standard error.
 */
export async function checkEnvoy({ files, config, output, terminal }: CheckEnvoyOptions): Promise<ExitCode> {
  const parsed = config === undefined ? undefined : await readConfig(config);
  if (config !== undefined && parsed?.mistakes !== undefined) {
    terminal.out(formatMistakes(config, parsed.mistakes, output));
    return EXIT.wrongUsage;
  }
  const value = parsed?.value;
  const found = await judge(
    files,
    value === undefined ? {} : { policies: value.authz?.policies ?? new Map(), bundles: value.sds },
  );
  for (const note of found.notes) terminal.err(`${formatMistake(note)}\n`);
  terminal.err(`${judgedLine(found)}\n`);
  terminal.out(formatMistakes(files.join(', '), found.mistakes, output));
  return found.mistakes.length === 0 ? EXIT.done : EXIT.failed;
}

async function judge(files: readonly string[], known: KnownConfig): Promise<EnvoyFileFindings> {
  const read = await Promise.all(files.map(async (file) => ({ file, ...(await readTextFile(file, LIMITS)) })));
  const unread = read.flatMap(({ mistake }) => (mistake === undefined ? [] : [mistake]));
  if (unread.length > 0) return { mistakes: unread, notes: [], judged: 0, others: 0 };
  return checkEnvoyFiles(
    read.map(({ file, text = '' }) => ({ file, text })),
    known,
  );
}

/** Nobody should take the silence about the others for a verdict. */
function judgedLine({ judged, others }: EnvoyFileFindings): string {
  const left = others === 0 ? '' : `; ${others} without are not judged`;
  return `${judged} HTTP connection ${judged === 1 ? 'manager' : 'managers'} with offload judged${left}`;
}
