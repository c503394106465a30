import { SvidgateError } from '../core/index.ts';
import type { PolicySnapshot, SpiffeLiteral } from '../policy/index.ts';
import type { ServerOptions } from './command-line.ts';
import type { ShownProblem } from './policy-problems.ts';

/** The SPIFFE IDs that are issued, and of which trust domains others can be verified. */
export interface KnownPrincipals {
  readonly trustDomain: string;
  readonly spiffeIds: ReadonlySet<string>;
  /** Undefined where nobody knows. */
  readonly federated?: ReadonlySet<string>;
}

/** Those of the server that runs, or of the entries file of one that does not; undefined when neither is named. */
export async function knownPrincipals(
  options: ServerOptions,
  say: (text: string) => void,
): Promise<KnownPrincipals | undefined> {
  if (options.config === undefined && options.socket === undefined) return undefined;
  try {
    return await principalsOfServer(options);
  } catch (error) {
    if (!(error instanceof SvidgateError && error.code === 'server_unreachable') || options.config === undefined)
      throw error;
    say('the server does not run: SPIFFE IDs are compared with its entries file alone\n');
    return await principalsOfFile(options);
  }
}

async function principalsOfServer(options: ServerOptions): Promise<KnownPrincipals> {
  const [{ withAdmin }, { allEntries }] = await Promise.all([
    import('./admin-client.ts'),
    import('./commands/entry.ts'),
  ]);
  return await withAdmin(options, async (admin) => {
    const entries = await allEntries(admin, {});
    const domains: { readonly trustDomain: string; readonly isOwn: boolean }[] = [];
    let pageToken = '';
    do {
      const page = await admin.call('listBundles', { pageToken });
      domains.push(...page.bundles.map(({ trustDomain, source }) => ({ trustDomain, isOwn: source === OWN_BUNDLE })));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return {
      trustDomain: domains.find(({ isOwn }) => isOwn)?.trustDomain ?? '',
      spiffeIds: new Set(entries.map(({ fields }) => fields?.spiffeId ?? '')),
      federated: new Set(domains.map(({ trustDomain }) => trustDomain)),
    };
  });
}

/** BundleSource of the admin API. */
const OWN_BUNDLE = 1;
const MAX_ENTRIES_BYTES = 64 * 1024 * 1024;

/** Those of the entries file that a configuration names. */
export async function principalsOfFile(options: ServerOptions): Promise<KnownPrincipals> {
  const [{ configOf }, { readTextFile, configInvalid }, { parseEntries }] = await Promise.all([
    import('./server-address.ts'),
    import('../config/index.ts'),
    import('../registration/index.ts'),
  ]);
  const { trustDomain, entriesFile } = await configOf(options);
  if (entriesFile === undefined) return { trustDomain, spiffeIds: new Set() };
  const read = await readTextFile(entriesFile, { maxBytes: MAX_ENTRIES_BYTES });
  if (read.mistake !== undefined) throw configInvalid([read.mistake]);
  const parsed = parseEntries({ text: read.text, file: entriesFile, trustDomain });
  if (parsed.mistakes !== undefined) throw configInvalid(parsed.mistakes);
  return { trustDomain, spiffeIds: new Set(parsed.value.map(({ spiffeId }) => spiffeId)) };
}

/** SPIFFE IDs in the policy that nobody can have. */
export function unissuedPrincipals(
  literals: readonly SpiffeLiteral[],
  { trustDomain, spiffeIds, federated }: KnownPrincipals,
): readonly ShownProblem[] {
  return literals.flatMap((literal) => {
    const { text, file, line, column } = literal;
    const wanted = literal.isPrefix || WILDCARD.test(text) ? text.replace(WILDCARD, '') : text;
    const isPrefix = wanted !== text || literal.isPrefix || text.endsWith('/');
    const domain = /^spiffe:\/\/([^/*{[?%]*)/.exec(text)?.[1] ?? '';
    const found = { file, line, column, severity: 'warning' as const };
    if (domain === '' || (isPrefix && wanted === `spiffe://${domain}`)) return [];
    if (domain !== trustDomain) {
      if (federated === undefined || federated.has(domain)) return [];
      const message = `${text} is of a trust domain whose bundle is not there`;
      return [
        { ...found, code: 'principal_foreign', message, remedy: `Set its bundle: svidgate bundle set ${domain} FILE.` },
      ];
    }
    const isIssued = isPrefix ? [...spiffeIds].some((id) => id.startsWith(wanted)) : spiffeIds.has(wanted);
    if (isIssued) return [];
    const message = isPrefix ? `no entry issues a SPIFFE ID that begins with ${wanted}` : `no entry issues ${text}`;
    const remedy = 'Add an entry, or mend the name: nobody is this peer.';
    return [{ ...found, code: 'principal_unissued', message, remedy }];
  });
}

/** From here on a pattern is no literal. */
const WILDCARD = /[*?{[%].*$/s;
const SPIFFE_ID = /spiffe:\/\/[^\s"',\]})]+/g;

/** SPIFFE IDs in data documents, outside comments of YAML. */
export function literalsOfData({ files }: Pick<PolicySnapshot, 'files'>): readonly SpiffeLiteral[] {
  return Object.entries(files.data).flatMap(([file, text]) =>
    text.split('\n').flatMap((line, index) => {
      const comment = file.endsWith('.json') ? -1 : line.search(/(?:^|\s)#/);
      return [...line.matchAll(SPIFFE_ID)]
        .filter(({ index: at }) => comment === -1 || at < comment)
        .map(({ 0: found, index: at }) => ({
          text: found,
          file,
          line: index + 1,
          column: at + 1,
          isPrefix: false,
        }));
    }),
  );
}
