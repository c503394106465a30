import { configInvalid } from '../../config/index.ts';
import { toEntryFields } from '../../endpoints/admin/index.ts';
import { formatSpireEntries, parseEntries } from '../../registration/index.ts';
import { parseTrustDomain } from '../../spiffe/index.ts';
import { withAdmin } from '../admin-client.ts';
import type { ClientOptions } from '../command-line.ts';
import { entryJson, toRegisteredEntry } from '../entry-view.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { ExportFlags } from '../groups/entry.ts';
import { readInput } from '../input-text.ts';
import { allEntries } from './entry.ts';

const MAX_FILE_BYTES = 32 * 1024 * 1024;
const MODES = { create: 1, replace: 2 } as const;

/** `entry import`: all entries of a file, or none. Throws `config_invalid` with every mistake of the file. */
export async function importEntries(
  file: string,
  options: ClientOptions & { readonly replace?: boolean },
): Promise<ExitCode> {
  const text = await readInput(file, MAX_FILE_BYTES);
  const count = await withAdmin(options, async (admin) => {
    const { trustDomain } = await admin.call('getStatus', { pageSize: 1 });
    const name = file === '-' ? 'standard input' : file;
    const parsed = parseEntries({ text, file: name, trustDomain: parseTrustDomain(trustDomain) });
    if (parsed.mistakes !== undefined) throw configInvalid(parsed.mistakes);
    const mode = options.replace === true ? MODES.replace : MODES.create;
    await admin.call('importEntries', { entries: parsed.value.map(toEntryFields), mode });
    return parsed.value.length;
  });
  const { output, terminal } = options;
  if (output === 'json') terminal.out(`${JSON.stringify({ imported_count: count })}\n`);
  else terminal.out(`imported ${count} ${count === 1 ? 'entry' : 'entries'}\n`);
  return EXIT.done;
}

/** `entry export`: JSON whatever `--output` says. */
export async function exportEntries(options: ClientOptions & ExportFlags): Promise<ExitCode> {
  const sources = [undefined, 'file', 'api'] as const;
  const entries = await withAdmin(options, (admin) => allEntries(admin, { source: sources.indexOf(options.source) }));
  if (options.format === 'spire') {
    options.terminal.out(formatSpireEntries(entries.map(toRegisteredEntry)));
  } else {
    const fields = entries.flatMap((entry) => (entry.fields === null ? [] : [entryJson(entry.fields)]));
    options.terminal.out(`${JSON.stringify({ entries: fields }, undefined, 2)}\n`);
  }
  return EXIT.done;
}
