import { SvidgateError } from '../core/index.ts';
import { parseSpiffeId, pathOf, type SpiffeId } from './spiffe-id.ts';

/** One SPIFFE ID, or all IDs beneath one: `spiffe://prod.acme.test/team-a/**`. */
export type SpiffeIdPattern =
  | { readonly kind: 'exact'; readonly spiffeId: SpiffeId }
  /** `prefix` ends with a slash; an ID has something after it. */
  | { readonly kind: 'beneath'; readonly prefix: string };

const BENEATH = '/**';

/** Throws `spiffe_id_invalid` unless the text is a SPIFFE ID with a path, or an ID followed by `/**`. */
export function parseSpiffeIdPattern(text: string): SpiffeIdPattern {
  if (text.endsWith(BENEATH)) {
    const above = parseSpiffeId(text.slice(0, -BENEATH.length));
    return { kind: 'beneath', prefix: `${above}/` };
  }
  const spiffeId = parseSpiffeId(text);
  if (pathOf(spiffeId) === '') {
    throw new SvidgateError('spiffe_id_invalid', `no workload has the ID of a trust domain; all of them: ${text}/**`);
  }
  return { kind: 'exact', spiffeId };
}

export function matchesSpiffeId(pattern: SpiffeIdPattern, id: SpiffeId): boolean {
  if (pattern.kind === 'exact') return id === pattern.spiffeId;
  return id.startsWith(pattern.prefix) && id.length > pattern.prefix.length;
}
