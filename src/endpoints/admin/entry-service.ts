import { SvidgateError, type AuditCaller } from '../../core/index.ts';
import type { svidgate } from '../../proto/index.ts';
import type { EntryDraft } from '../../registration/index.ts';
import { isSpiffeId, parseSelector, type RegisteredEntry } from '../../spiffe/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { Grant } from './access.ts';
import type { AdminCall, AdminMethods } from './admin-call.ts';
import { ENTRY_SOURCES, toDraft, toEntry, toPatch, type MessageDraft } from './entry-message.ts';
import { pageOf, sortedBy } from './page.ts';
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
  /** The same array as long as nothing changed. */
  list(): readonly RegisteredEntry[];
  find(entryId: string): RegisteredEntry | undefined;
  create(draft: EntryDraft, by: AuditCaller): Promise<RegisteredEntry>;
  update(
    entryId: string,
    patch: EntryDraft & { readonly expectedRevision?: number },
    by: AuditCaller,
  ): Promise<RegisteredEntry>;
  delete(entryId: string, by: AuditCaller): Promise<unknown>;
  import(
    drafts: readonly EntryDraft[],
    by: AuditCaller,
    options: { readonly mode: 'create' | 'replace' },
  ): Promise<unknown>;
}

const IMPORT_MODES = ['create', 'replace'] as const;
const MAX_IMPORT = 100_000;
const MAX_FILTER_SELECTORS = 100;

/** Fields that name rights beyond a SPIFFE ID path. */
const BEYOND_PATHS = ['dns_names', 'admin', 'downstream'] as const satisfies readonly (keyof MessageDraft)[];

/** EntryAdmin of the admin API. */
export function entryMethods(methods: AdminMethods, entries: EntryAdmin): readonly GrpcMethod[] {
  const sorted = createSortedList(() => entries.list());
  const inTurn = createTurns();
  return [
    methods.unary('listEntries', (request) => listEntries(request, sorted())),
    methods.unary('getEntry', (request) => toEntry(findEntry(entries, request.entryId))),
    methods.unary('createEntry', (request, call) =>
      inTurn(async () => {
        const draft = toDraft(required('entry', request.entry));
        call.about({ spiffe_id: draft.spiffe_id ?? '' });
        checkReach(draft, call.grant);
        const created = await entries.create(draft, call.caller);
        call.about({ entry_id: created.entry.entryId });
        return toEntry(created);
      }),
    ),
    methods.unary('updateEntry', (request, call) => inTurn(() => updateEntry(request, call, entries))),
    methods.unary('deleteEntry', (request, call) =>
      inTurn(async () => {
        const { entry } = findEntry(entries, request.entryId);
        call.about({ entry_id: entry.entryId, spiffe_id: entry.spiffeId });
        checkPath(entry.spiffeId, call.grant);
        await entries.delete(entry.entryId, call.caller);
        return {};
      }),
    ),
    methods.unary('importEntries', (request, call) => inTurn(() => importEntries(request, call, entries))),
  ];
}

function listEntries(
  request: svidgate.admin.v1.ListEntriesRequest,
  sorted: readonly RegisteredEntry[],
): svidgate.admin.v1.ListEntriesResponseInit {
  const wanted = sorted.filter(filterOf(request));
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
  { about, caller, grant }: AdminCall,
  entries: EntryAdmin,
): Promise<svidgate.admin.v1.EntryInit> {
  const patch = toPatch(required('entry', request.entry), request.updateFields);
  const before = findEntry(entries, request.entryId);
  about({ entry_id: before.entry.entryId, spiffe_id: before.entry.spiffeId });
  checkReach(draftOfEntry(before), grant);
  checkReach({ spiffe_id: before.entry.spiffeId, ...patch }, grant);
  const limits = { min: 0, max: Number.MAX_SAFE_INTEGER };
  const expectedRevision =
    request.expectedRevision === null ? undefined : int64Field('expected_revision', request.expectedRevision, limits);
  const condition = expectedRevision === undefined ? {} : { expectedRevision };
  return toEntry(await entries.update(before.entry.entryId, { ...patch, ...condition }, caller));
}

async function importEntries(
  request: svidgate.admin.v1.ImportEntriesRequest,
  { caller, grant }: AdminCall,
  entries: EntryAdmin,
): Promise<svidgate.admin.v1.ImportEntriesResponseInit> {
  const mode = enumField('mode', request.mode, IMPORT_MODES);
  const count = request.entries.length;
  if (count > MAX_IMPORT) throw invalidField('entries', `${count} are more than ${MAX_IMPORT}`);
  const drafts = request.entries.map(toDraft);
  if (!grant.isAuthority) for (const draft of drafts) checkImported(draft, grant, entries);
  if (count > 0) await entries.import(drafts, caller, { mode });
  return { importedCount: count };
}

/** A draft may take the place of an entry with its id. */
function checkImported(draft: MessageDraft, grant: Grant, entries: EntryAdmin): void {
  checkReach(draft, grant);
  const replaced = entries.find(draft.entry_id ?? '');
  if (replaced !== undefined) checkReach(draftOfEntry(replaced), grant);
}

function findEntry(entries: EntryAdmin, value: string): RegisteredEntry {
  const entryId = entryIdField('entry_id', value);
  const found = entries.find(entryId);
  if (found === undefined) throw new SvidgateError('not_found', `there is no entry ${entryId}`);
  return found;
}

/** Whether the caller may have an entry such as this one. What is no SPIFFE ID is refused by the registry. */
function checkReach(draft: MessageDraft, grant: Grant): void {
  if (grant.isAuthority) return;
  checkPath(draft.spiffe_id ?? '', grant);
  for (const name of BEYOND_PATHS) {
    const value = draft[name];
    if (value === true || (Array.isArray(value) && value.length > 0)) {
      throw new SvidgateError(
        'permission_denied',
        `the role ${grant.role} does not reach entries with ${name}: they give more than a SPIFFE ID`,
      );
    }
  }
}

/** As much of it as checkReach looks at. */
function draftOfEntry({ entry }: RegisteredEntry): MessageDraft {
  const { spiffeId, dnsNames, admin, downstream } = entry;
  return { spiffe_id: spiffeId, dns_names: [...(dnsNames ?? [])], admin, downstream };
}

function checkPath(spiffeId: string, grant: Grant): void {
  if (!isSpiffeId(spiffeId))
    spiffeIdField('spiffe_id', spiffeId); // throws
  else if (!grant.mayTouch(spiffeId)) {
    throw new SvidgateError('permission_denied', `the role ${grant.role} does not reach ${spiffeId}`);
  }
}

function selectorField(field: string, text: string) {
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

/** Sorting 100,000 entries takes some 50 ms, and every page asks for it. */
function createSortedList(list: () => readonly RegisteredEntry[]): () => readonly RegisteredEntry[] {
  let from: readonly RegisteredEntry[] | undefined;
  let sorted: readonly RegisteredEntry[] = [];
  return () => {
    const now = list();
    if (now !== from) [from, sorted] = [now, sortedBy(now, idOf)];
    return sorted;
  };
}

/** One at a time, so that nothing changes between looking at an entry's path and changing it. */
function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(work);
    last = turn.catch(() => undefined);
    return turn;
  };
}
