import { CLEARABLE_FIELDS, readEntryFlags, type EntryFlags } from '../entry-flags.ts';
import { formatEntry, formatEntryTable, registeredJson } from '../entry-view.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { withAdmin, type AdminClient } from '../admin-client.ts';
import { wrongUsage, type ClientOptions } from '../command-line.ts';
import type { ListFlags, UpdateFlags } from '../groups/entry.ts';
import type { svidgate } from '../../proto/index.ts';

type Entry = svidgate.admin.v1.Entry;
type ListRequest = svidgate.admin.v1.ListEntriesRequestInit;

/** `entry create`: prints the entry that was made. */
export async function createEntry(options: ClientOptions & EntryFlags): Promise<ExitCode> {
  const { fields } = readEntryFlags(options);
  const entry = await withAdmin(options, (admin) => admin.call('createEntry', { entry: fields }));
  return print(entry, options);
}

/** `entry list` */
export async function listEntries(options: ClientOptions & ListFlags): Promise<ExitCode> {
  const entries = await withAdmin(options, (admin) => allEntries(admin, listRequest(options)));
  const { output, terminal } = options;
  if (output === 'json') terminal.out(`${JSON.stringify({ entries: entries.map(registeredJson) })}\n`);
  else terminal.out(formatEntryTable(entries, Date.now()));
  return EXIT.done;
}

/** `entry show` */
export async function showEntry(entryId: string, options: ClientOptions): Promise<ExitCode> {
  return print(await withAdmin(options, (admin) => admin.call('getEntry', { entryId })), options);
}

/** `entry update`: prints the entry as it is then. */
export async function updateEntry(entryId: string, options: ClientOptions & UpdateFlags): Promise<ExitCode> {
  const { fields, names } = readEntryFlags(options);
  const cleared = (options.clear ?? []).map((name) => name.replaceAll('-', '_'));
  for (const name of cleared) {
    if (!CLEARABLE_FIELDS.some((field) => field === name)) {
      throw wrongUsage(`--clear ${name}: expected one of ${CLEARABLE_FIELDS.join(', ')}`);
    }
    if (names.includes(name)) throw wrongUsage(`--clear ${name}: the same field is set`);
  }
  const updateFields = [...names, ...new Set(cleared)];
  if (updateFields.length === 0)
    throw wrongUsage('nothing to change: name fields with flags such as --x509-svid-ttl 10m');
  const request = { entryId, entry: fields, updateFields, ...readRevision(options.expectRevision) };
  return print(await withAdmin(options, (admin) => admin.call('updateEntry', request)), options);
}

/** `entry delete`: one after the other; the first that cannot be deleted ends it. */
export async function deleteEntries(entryIds: readonly string[], options: ClientOptions): Promise<ExitCode> {
  const { output, terminal } = options;
  await withAdmin(options, async (admin) => {
    for (const entryId of entryIds) {
      await admin.call('deleteEntry', { entryId });
      if (output === 'text') terminal.out(`deleted ${entryId}\n`);
    }
  });
  if (output === 'json') terminal.out(`${JSON.stringify({ deleted: entryIds })}\n`);
  return EXIT.done;
}

/** Every page of a list. */
export async function allEntries(admin: AdminClient, request: ListRequest): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  let pageToken = '';
  do {
    const page = await admin.call('listEntries', { ...request, pageToken, pageSize: 1000 });
    for (const entry of page.entries) entries.push(entry);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return entries;
}

/** In the order of the proto's enum, from 0. */
const SOURCES = [undefined, 'file', 'api'] as const;

function listRequest(flags: ListFlags): ListRequest {
  return {
    spiffeId: flags.spiffeId ?? '',
    parentId: flags.parentId ?? '',
    selectors: flags.selector ?? [],
    federatesWith: flags.federatesWith ?? '',
    hint: flags.hint ?? '',
    downstream: flags.downstream ?? false,
    source: SOURCES.indexOf(flags.source),
  };
}

function readRevision(text: string | undefined): { readonly expectedRevision?: number } {
  if (text === undefined) return {};
  if (!/^\d{1,15}$/.test(text))
    throw wrongUsage('--expect-revision: expected a whole number, as `entry show` prints it');
  return { expectedRevision: Number(text) };
}

function print(entry: Entry, { output, terminal }: ClientOptions): ExitCode {
  terminal.out(output === 'json' ? `${JSON.stringify(registeredJson(entry))}\n` : formatEntry(entry, Date.now()));
  return EXIT.done;
}
