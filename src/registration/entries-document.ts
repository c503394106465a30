import { createHash } from 'node:crypto';
import {
  durationField,
  listField,
  optionalField,
  parseYamlDocument,
  sectionField,
  textField,
  type Field,
  type Parsed,
  type ReportMistake,
} from '../config/index.ts';
import { SvidgateError } from '../core/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  pathOf,
  trustDomainOf,
  type RegistrationEntry,
  type Selector,
  type SpiffeId,
  type TrustDomain,
} from '../spiffe/index.ts';

const ENTRY_ID = /^[A-Za-z0-9._-]{1,255}$/;

/**
 * The entries of an `entries.yaml`, sorted by entry id, or every mistake in it: a SPIFFE ID outside of the trust domain
 * or without a path, an entry without selectors, two entries with the same id, or with the same SPIFFE ID and selectors.
 */
export function parseEntries(options: {
  readonly text: string;
  /** Only shown in the mistakes. */
  readonly file: string;
  readonly trustDomain: TrustDomain;
}): Parsed<readonly RegistrationEntry[]> {
  const { text, file } = options;
  const parsed = parseYamlDocument({ text, file, schema: entriesSchema(options.trustDomain) });
  if (parsed.mistakes !== undefined) return parsed;
  const entries = parsed.value.entries.map(toEntry);
  return { value: entries.sort(byEntryId), placeOf: parsed.placeOf };
}

interface RawEntry {
  readonly entry_id?: string | undefined;
  readonly spiffe_id: SpiffeId;
  readonly selectors: readonly Selector[];
  readonly x509_svid_ttl?: number | undefined;
}

function entriesSchema(trustDomain: TrustDomain): Field<{ entries: RawEntry[] }> {
  const entry = sectionField(
    {
      entry_id: optionalField(textField({ description: '', expected: 'an entry id' }, parseEntryId)),
      spiffe_id: textField(
        { description: '', expected: `a SPIFFE ID such as spiffe://${trustDomain}/orders` },
        (text) => parseOwnSpiffeId(text, trustDomain),
      ),
      selectors: listField(
        textField({ description: '', expected: 'a selector such as unix:uid:1001' }, parseSelector),
        {
          description: '',
          expected: 'a list of at least one selector, such as unix:uid:1001',
          min: 1,
        },
      ),
      x509_svid_ttl: optionalField(durationField({ description: '', min: '1s', max: '87600h' })),
    },
    { description: '' },
  );
  const list: Field<RawEntry[]> = listField(entry, { description: '', expected: 'a list of entries' }, checkUnique);
  return sectionField({ entries: list }, { description: '' });
}

function checkUnique(entries: ReadonlyMap<number, RawEntry>, report: ReportMistake): void {
  const ids = new Map<string, number>();
  const contents = new Map<string, number>();
  for (const [index, raw] of entries) {
    const { entryId, spiffeId, selectors } = toEntry(raw);
    const content = JSON.stringify([spiffeId, selectors]);
    const same = contents.get(content);
    const sameId = ids.get(entryId);
    if (same !== undefined) {
      const message = `\`entries[${index}]\` gives the same SPIFFE ID for the same selectors as \`entries[${same}]\``;
      report([index], message, 'keep one of them');
    } else if (sameId !== undefined) {
      const message = `\`entries[${index}].entry_id\` is that of \`entries[${sameId}]\` too`;
      report([index, 'entry_id'], message, 'give each its own');
    }
    contents.set(content, same ?? index);
    ids.set(entryId, sameId ?? index);
  }
}

function toEntry(raw: RawEntry): RegistrationEntry {
  const selectors = [...new Set(raw.selectors)].sort();
  return {
    entryId: raw.entry_id ?? deriveEntryId(raw.spiffe_id, selectors),
    spiffeId: raw.spiffe_id,
    selectors,
    ...(raw.x509_svid_ttl === undefined ? {} : { x509SvidTtlMs: raw.x509_svid_ttl }),
  };
}

/** The same for the same SPIFFE ID and selectors, in whatever file and order they stand. */
function deriveEntryId(spiffeId: SpiffeId, selectors: readonly Selector[]): string {
  return createHash('sha256')
    .update(JSON.stringify([spiffeId, selectors]))
    .digest('hex')
    .slice(0, 32);
}

function parseEntryId(text: string): string {
  if (!ENTRY_ID.test(text)) {
    throw new SvidgateError('config_invalid', 'an entry id has 1 to 255 letters, digits, `.`, `-` or `_`');
  }
  return text;
}

function parseOwnSpiffeId(text: string, trustDomain: TrustDomain): SpiffeId {
  const id = parseSpiffeId(text);
  if (trustDomainOf(id) !== trustDomain) {
    throw new SvidgateError('spiffe_id_invalid', `expected an ID of the trust domain ${trustDomain}`);
  }
  if (pathOf(id) === '') {
    throw new SvidgateError('spiffe_id_invalid', "expected a path: without one it is the trust domain's own ID");
  }
  return id;
}

function byEntryId(a: RegistrationEntry, b: RegistrationEntry): number {
  if (a.entryId === b.entryId) return 0;
  return a.entryId < b.entryId ? -1 : 1;
}
