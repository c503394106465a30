import { SvidgateError } from '../../core/index.ts';
import type { CallerIdentity } from '../../identity/index.ts';
import { trustDomainId, type TrustBundle, type X509Svid } from '../../spiffe/index.ts';

/** The names that stand for something else (spire-agent's `sds` section). */
export interface SdsAliases {
  readonly defaultSvidName: string;
  readonly defaultBundleName: string;
  readonly defaultAllBundlesName: string;
}

/** What one resource name stands for. */
export type NamedSecret =
  | { readonly kind: 'svid'; readonly name: string; readonly svid: X509Svid }
  | { readonly kind: 'bundle'; readonly name: string; readonly bundle: TrustBundle }
  | { readonly kind: 'all-bundles'; readonly name: string; readonly bundles: readonly TrustBundle[] };

export interface ResolvedNames {
  /** Bundles first, then SVIDs, never in the order asked, as spire-agent does. */
  readonly secrets: readonly NamedSecret[];
  /** Names that the caller has no right to, sorted. */
  readonly unknown: readonly string[];
  /** Whether some SVID that was asked for is to come. */
  readonly isPending: boolean;
}

const MAX_NAMES = 1000;
const MAX_NAME_LENGTH = 2300; // a SPIFFE ID has at most 2048, with room for prefixes
/** Of all names together: they are kept for as long as the stream lives. */
const MAX_TOTAL_LENGTH = 256 * 1024;

/** The names of a request as a set: the empty name means nothing beside others. Throws `invalid_request` beyond the bounds. */
export function normalizeNames(names: readonly string[]): ReadonlySet<string> {
  if (names.length > MAX_NAMES) throw new SvidgateError('invalid_request', `more than ${MAX_NAMES} resource names`);
  if (names.some((name) => name.length > MAX_NAME_LENGTH)) {
    throw new SvidgateError('invalid_request', `a resource name is longer than ${MAX_NAME_LENGTH} characters`);
  }
  if (names.reduce((length, name) => length + name.length, 0) > MAX_TOTAL_LENGTH) {
    throw new SvidgateError(
      'invalid_request',
      `resource names are longer than ${MAX_TOTAL_LENGTH} characters together`,
    );
  }
  return new Set(names.filter((name) => name !== ''));
}

/** Finds what each name stands for, for this caller. No name at all asks for everything. Who is not registered gets nothing. */
export function resolveNames(names: ReadonlySet<string>, identity: CallerIdentity, aliases: SdsAliases): ResolvedNames {
  const { svids, pending } = identity;
  if (svids.length === 0 && pending.length === 0) return { secrets: [], unknown: [...names].sort(), isPending: false };
  const known = knownSecrets(identity, names.size > 0 ? aliases : undefined);
  if (names.size === 0) return { secrets: [...known.values()], unknown: [], isPending: pending.length > 0 };
  const toCome = new Set<string>(pending.map(({ spiffeId }) => spiffeId));
  if (pending.some(({ isDefault }) => isDefault)) toCome.add(aliases.defaultSvidName);
  const missing = [...names].filter((name) => !known.has(name));
  return {
    secrets: [...known.values()].filter((secret) => names.has(secret.name)),
    unknown: missing.filter((name) => !toCome.has(name)).sort(),
    isPending: missing.some((name) => toCome.has(name)),
  };
}

/** Own bundle, foreign bundles, SVIDs. Of several entries with one SPIFFE ID the first counts: Envoy must see one secret for it. */
function knownSecrets(identity: CallerIdentity, aliases: SdsAliases | undefined): ReadonlyMap<string, NamedSecret> {
  const { bundle, foreignBundles, svids, pending } = identity;
  const bundles = [bundle, ...foreignBundles];
  const known = new Map<string, NamedSecret>();
  const add = (secret: NamedSecret): void => {
    if (!known.has(secret.name)) known.set(secret.name, secret);
  };
  add({ kind: 'bundle', name: trustDomainId(bundle.trustDomain), bundle });
  if (aliases !== undefined) {
    add({ kind: 'bundle', name: aliases.defaultBundleName, bundle });
    add({ kind: 'all-bundles', name: aliases.defaultAllBundlesName, bundles });
  }
  for (const foreign of foreignBundles) {
    if (foreign.x509Authorities.length === 0) continue; // Envoy would refuse it
    add({ kind: 'bundle', name: trustDomainId(foreign.trustDomain), bundle: foreign });
  }
  const [first] = svids;
  // Never another identity in the place of one that is to come.
  if (aliases !== undefined && first !== undefined && !pending.some(({ isDefault }) => isDefault)) {
    add({ kind: 'svid', name: aliases.defaultSvidName, svid: first.svid });
  }
  for (const { svid } of svids) add({ kind: 'svid', name: svid.spiffeId, svid });
  return known;
}

const MAX_NAMES_SHOWN = 5;
const MAX_NAME_SHOWN = 128;

/** The names for a status message: a few of them, each cut, so that an answer is never larger than a question. */
export function showNames(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMES_SHOWN).map((name) => JSON.stringify(name.slice(0, MAX_NAME_SHOWN)));
  const more = names.length > MAX_NAMES_SHOWN ? ` and ${names.length - MAX_NAMES_SHOWN} more` : '';
  return `[${shown.join(' ')}]${more}`;
}
