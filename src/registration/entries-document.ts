import {
  describeValue,
  formatPath,
  nearestName,
  parseYamlTree,
  sortMistakes,
  type DocumentPath,
  type Mistake,
  type Parsed,
  type YamlTree,
} from '../config/index.ts';
import { parseUniqueJson, type RegistrationEntry, type SpiffeId, type TrustDomain } from '../spiffe/index.ts';
import { checkDraft, contentKey, derivedEntryId, type DraftMistake } from './entry-draft.ts';
import { entriesInCircles } from './parent-circles.ts';
import { byEntryId } from './snapshot.ts';

/** Beyond it the YAML parser would need more than a gigabyte. */
const MAX_YAML_CHARACTERS = 16 * 1024 * 1024;

/**
 * The entries of an `entries.yaml` or of SPIRE's `{"entries":[…]}` JSON (which is YAML, too), sorted by entry id, or
 * every mistake in it: those of single entries (checkDraft), two entries with the same id or the same content, and
 * parents in a circle. Mistakes in more than 16 Mi characters have no place, and such a text must be JSON.
 */
export function parseEntries(options: {
  readonly text: string;
  /** Only shown in the mistakes. */
  readonly file: string;
  readonly trustDomain: TrustDomain;
}): Parsed<readonly RegistrationEntry[]> {
  const { text, file, trustDomain } = options;
  const places = (): YamlTree => parseYamlTree(text, file);
  // JSON without a mistake needs no places, which take the YAML parser 20 times as long: 0.4 ms and 40 KB for an entry.
  const json = readJson(text);
  const quick = json === undefined ? undefined : checkDocument(json, trustDomain);
  if (quick?.mistakes.length === 0) {
    return { value: quick.entries, placeOf: (path) => places().placeOf(path, 'value') };
  }
  if (text.length > MAX_YAML_CHARACTERS) return { mistakes: withoutPlaces(quick?.mistakes ?? [], file) };
  const tree = places();
  const { entries, mistakes } = checkDocument(tree.value, trustDomain);
  const placed = mistakes.map(({ path, part, message, remedy }) => ({
    file,
    ...tree.placeOf(path, part),
    message,
    remedy,
  }));
  const [first, ...others] = sortMistakes([...tree.mistakes, ...placed]);
  if (first !== undefined) return { mistakes: [first, ...others] };
  return { value: entries, placeOf: (path) => tree.placeOf(path, 'value') };
}

/** The messages name the entries. */
function withoutPlaces(mistakes: readonly DraftMistake[], file: string): [Mistake, ...Mistake[]] {
  const start = { file, line: 1, column: 1 };
  const [first, ...others] = mistakes.map(({ message, remedy }) => ({ ...start, message, remedy }));
  if (first !== undefined) return [first, ...others];
  const message = `the file is not JSON and has more than ${MAX_YAML_CHARACTERS} characters`;
  return [{ ...start, message, remedy: 'keep it smaller, or write it as JSON' }];
}

function readJson(text: string): unknown {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    return parseUniqueJson(text);
  } catch {
    return undefined; // the YAML parser says where it is wrong
  }
}

interface CheckedDocument {
  readonly entries: readonly RegistrationEntry[];
  readonly mistakes: readonly DraftMistake[];
}

/** Undefined is a text that is no document at all. */
function checkDocument(document: unknown, trustDomain: TrustDomain): CheckedDocument {
  const mistakes: DraftMistake[] = [];
  const report = (mistake: DraftMistake): void => void mistakes.push(mistake);
  const entries = new Map<number, RegistrationEntry>();
  for (const [index, draft] of (document === undefined ? [] : draftsIn(document, report)).entries()) {
    const { entry, mistakes: found } = checkDraft(draft, {
      trustDomain,
      path: ['entries', index],
      newId: derivedEntryId,
    });
    if (entry !== undefined) entries.set(index, entry);
    else found.forEach(report);
  }
  checkUnique(entries, report);
  checkParents(entries, report);
  return { entries: [...entries.values()].sort(byEntryId), mistakes };
}

type Report = (mistake: DraftMistake) => void;

function draftsIn(document: unknown, report: Report): readonly unknown[] {
  const reportValue = (path: DocumentPath, message: string, remedy: string): void =>
    report({ path, part: 'value', message, remedy });
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    reportValue([], `the document is ${describeValue(document)}`, 'expected a mapping with keys such as `entries`');
    return [];
  }
  const { entries } = document as { readonly entries?: unknown };
  if (!Array.isArray(entries)) {
    const message = entries === undefined ? 'missing key `entries`' : `\`entries\` is ${describeValue(entries)}`;
    reportValue(['entries'], message, 'expected a list of entries');
  }
  for (const key of Object.keys(document)) {
    // `spire-server entry show -output json` writes the token of the next page, empty, beside its entries.
    if (key === 'entries' || key === 'next_page_token') continue;
    const near = nearestName(key, ['entries']);
    const remedy = near === undefined ? 'the keys here are `entries`' : `did you mean \`${near}\`?`;
    report({ path: [key], part: 'key', message: `unknown key \`${formatPath([key])}\``, remedy });
  }
  return Array.isArray(entries) ? entries : [];
}

function checkUnique(entries: ReadonlyMap<number, RegistrationEntry>, report: Report): void {
  const ids = new Map<string, number>();
  const contents = new Map<string, number>();
  for (const [index, entry] of entries) {
    const content = contentKey(entry);
    const same = contents.get(content);
    const sameId = ids.get(entry.entryId);
    if (same !== undefined) {
      const message = `\`entries[${index}]\` gives the same SPIFFE ID for the same selectors as \`entries[${same}]\``;
      report({ path: ['entries', index], part: 'value', message, remedy: 'keep one of them' });
    } else if (sameId !== undefined) {
      const message = `\`entries[${index}].entry_id\` is that of \`entries[${sameId}]\` too`;
      report({ path: ['entries', index, 'entry_id'], part: 'value', message, remedy: 'give each its own' });
    }
    contents.set(content, same ?? index);
    ids.set(entry.entryId, sameId ?? index);
  }
}

function checkParents(entries: ReadonlyMap<number, RegistrationEntry>, report: Report): void {
  const giving = new Map<SpiffeId, RegistrationEntry[]>();
  for (const entry of entries.values()) {
    const group = giving.get(entry.spiffeId);
    if (group === undefined) giving.set(entry.spiffeId, [entry]);
    else group.push(entry);
  }
  const inCircles = new Set(entriesInCircles([...entries.values()], (id) => giving.get(id) ?? []));
  for (const [index, entry] of entries) {
    if (!inCircles.has(entry)) continue;
    const message = `\`entries[${index}].parent_id\` leads back to the entry itself`;
    report({ path: ['entries', index, 'parent_id'], part: 'value', message, remedy: 'parents form no circle' });
  }
}
