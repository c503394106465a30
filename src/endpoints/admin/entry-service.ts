import { SvidgateError } from '../../core/index.ts';
import type { svidgate } from '../../proto/index.ts';
import type { EntryAuthor, EntryDraft, EntryUpdate, ImportMode, ImportResult } from '../../registration/index.ts';
import { parseSelector, type RegisteredEntry, type RegistrationEntry, type Selector } from '../../spiffe/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminCall, AdminMethods } from './admin-call.ts';
import { ENTRY_SOURCES, toDraft, toEntry, toPatch } from './entry-message.ts';
import { pageOf } from './page.ts';
import { MAX_IMPORT } from './request-size.ts';
import {
  entryIdField,
  enumField,
  int64Field,
  invalidField,
  spiffeIdField,
  trustDomainField,
} from './request-fields.ts';

/** What the registry offers. Each change is checked, audited and stored before it returns. */
export interface EntryAdmin {
  /** In the order of entry ids. */
  list(): readonly RegisteredEntry[];
  find(entryId: string): RegisteredEntry | undefined;
  create(draft: EntryDraft, by: EntryAuthor): Promise<RegisteredEntry>;
  update(entryId: string, update: EntryUpdate, by: EntryAuthor): Promise<RegisteredEntry>;
  /** Gives what it was. */
  delete(entryId: string, by: EntryAuthor): Promise<RegisteredEntry>;
  import(drafts: readonly EntryDraft[], by: EntryAuthor, options: { readonly mode: ImportMode }): Promise<ImportResult>;
}

const IMPORT_MODES = ['create', 'replace'] as const;
const MAX_FILTER_SELECTORS = 100;

const MAX_MISTAKES_SHOWN = 10;

/** EntryAdmin of the admin API. */
export function entryMethods(methods: AdminMethods, entries: EntryAdmin): readonly GrpcMethod[] {
  return [
    methods.unary('listEntries', (request) => listEntries(request, entries.list())),
    methods.unary('getEntry', (request) => toEntry(findEntry(entries, request.entryId))),
    methods.unary('createEntry', async (request, call) => {
      const draft = toDraft(required('entry', request.entry));
      const created = await entries.create(draft, authorOf(call));
      call.about({ entry_id: created.entry.entryId, spiffe_id: created.entry.spiffeId });
      return toEntry(created);
    }),
    methods.unary('updateEntry', (request, call) => updateEntry(request, call, entries)),
    methods.unary('deleteEntry', async (request, call) => {
      const entryId = entryIdField('entry_id', request.entryId);
      call.about({ entry_id: entryId });
      const { entry } = await entries.delete(entryId, authorOf(call));
      call.about({ spiffe_id: entry.spiffeId });
      return {};
    }),
    methods.unary('importEntries', (request, call) => importEntries(request, call, entries)),
  ];
}

/** The registry asks about each entry while nobody else can change it. */
function authorOf({ caller, grant, method }: AdminCall): EntryAuthor {
  const mayChange = (entry: RegistrationEntry): boolean => {
    grant.assertMayChange(entry); // throws with words
    return true;
  };
  return { ...caller, method, mayChange };
}

function listEntries(
  request: svidgate.admin.v1.ListEntriesRequest,
  all: readonly RegisteredEntry[],
): svidgate.admin.v1.ListEntriesResponseInit {
  const wanted = all.filter(filterOf(request));
  const page = pageOf(wanted, request, { keyOf: idOf, sizeOf: ({ entry }) => JSON.stringify(entry).length });
  return { entries: page.items.map(toEntry), nextPageToken: page.nextPageToken, totalCount: wanted.length };
}

type Filter = (registered: RegisteredEntry) => boolean;

/** Which entries are asked for. Throws `invalid_request` for a condition that no entry could ever meet. */
function filterOf(request: svidgate.admin.v1.ListEntriesRequest): Filter {
  const filters: Filter[] = [];
  const { hint, downstream } = request;
  if (request.spiffeId !== '') {
    const spiffeId = spiffeIdField('spiffe_id', request.spiffeId);
    filters.push(({ entry }) => entry.spiffeId === spiffeId);
  }
  if (request.parentId !== '') {
    const parentId = spiffeIdField('parent_id', request.parentId);
    filters.push(({ entry }) => entry.parentId === parentId);
  }
  if (request.federatesWith !== '') {
    const trustDomain = trustDomainField('federates_with', request.federatesWith);
    filters.push(({ entry }) => entry.federatesWith?.includes(trustDomain) ?? false);
  }
  if (hint !== '') filters.push(({ entry }) => entry.hint === hint);
  if (downstream) filters.push(({ entry }) => entry.downstream === true);
  if (request.source !== 0) {
    const wanted = enumField('source', request.source, ENTRY_SOURCES);
    filters.push(({ source }) => source === wanted);
  }
  if (request.selectors.length > MAX_FILTER_SELECTORS) {
    throw invalidField('selectors', `more than ${MAX_FILTER_SELECTORS}`);
  }
  for (const [index, text] of request.selectors.entries()) {
    const selector = selectorField(`selectors[${index}]`, text);
    filters.push(({ entry }) => entry.selectors.includes(selector));
  }
  return (registered) => filters.every((filter) => filter(registered));
}

async function updateEntry(
  request: svidgate.admin.v1.UpdateEntryRequest,
  call: AdminCall,
  entries: EntryAdmin,
): Promise<svidgate.admin.v1.EntryInit> {
  const set = toPatch(required('entry', request.entry), request.updateFields);
  const entryId = entryIdField('entry_id', request.entryId);
  const limits = { min: 0, max: Number.MAX_SAFE_INTEGER };
  const expectedRevision =
    request.expectedRevision === null ? undefined : int64Field('expected_revision', request.expectedRevision, limits);
  call.about({ entry_id: entryId });
  const updated = await entries.update(entryId, { set, expectedRevision }, authorOf(call));
  call.about({ spiffe_id: updated.entry.spiffeId });
  return toEntry(updated);
}

async function importEntries(
  request: svidgate.admin.v1.ImportEntriesRequest,
  call: AdminCall,
  entries: EntryAdmin,
): Promise<svidgate.admin.v1.ImportEntriesResponseInit> {
  const mode = enumField('mode', request.mode, IMPORT_MODES);
  const count = request.entries.length;
  if (count > MAX_IMPORT) throw invalidField('entries', `${count} are more than ${MAX_IMPORT}`);
  const { mistakes } = await entries.import(request.entries.map(toDraft), authorOf(call), { mode });
  if (mistakes === undefined) return { importedCount: count };
  const shown = mistakes.slice(0, MAX_MISTAKES_SHOWN).map(({ index, message }) => `entries[${index}]: ${message}`);
  const left = mistakes.length - shown.length;
  throw new SvidgateError(mistakes[0].code, [...shown, ...(left > 0 ? [`and ${left} more`] : [])].join('\n'));
}

function findEntry(entries: EntryAdmin, value: string): RegisteredEntry {
  const entryId = entryIdField('entry_id', value);
  const found = entries.find(entryId);
  if (found === undefined) throw new SvidgateError('not_found', `there is no entry ${entryId}`);
  return found;
}

function selectorField(field: string, text: string): Selector {
  try {
    return parseSelector(text);
  } catch (error) {
    throw error instanceof SvidgateError ? invalidField(field, error.message, error) : error;
  }
}

function required<T>(field: string, value: T | null): T {
  if (value === null) throw invalidField(field, 'missing');
  return value;
}

function idOf({ entry }: RegisteredEntry): string {
  return entry.entryId;
}
