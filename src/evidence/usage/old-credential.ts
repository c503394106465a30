import { SvidgateError } from '../../core/index.ts';
import { isJsonObject } from '../replay/exact-member.ts';
import type { DecisionRecord } from '../records/decision-record.ts';

/** A credential from before identities. */
export type OldCredential = {
  readonly kind: 'header' | 'query' | 'jwt-provider' | 'jwt-issuer';
  readonly name: string;
};

/** Whether a request carried it. A record says so without its value: a pointer to what was removed is enough. */
export type Presence = 'present' | 'absent' | 'unknown';

const KINDS = ['header', 'query', 'jwt-provider', 'jwt-issuer'] as const;

/** `header:x-api-key`, `query:token`, `jwt-provider:NAME`, `jwt-issuer:ISSUER`. Throws `invalid_request`. */
export function parseOldCredential(text: string): OldCredential {
  const [, prefix, name = ''] = /^([a-z-]+):(.+)$/.exec(text) ?? [];
  const kind = KINDS.find((known) => known === prefix);
  if (kind === undefined) {
    throw new SvidgateError(
      'invalid_request',
      `a credential is one of ${KINDS.map((known) => `${known}:NAME`).join(', ')}`,
    );
  }
  return { kind, name: kind === 'header' ? name.toLowerCase() : name };
}

export function presenceOf(credential: OldCredential, record: DecisionRecord): Presence {
  const { kind, name } = credential;
  switch (kind) {
    case 'header':
      return presenceAt(record, ['attributes', 'request', 'http', 'headers', name]);
    case 'query':
      return presenceAt(record, ['parsed_query', name]);
    case 'jwt-issuer':
      // Tokens are noted whatever the policy looks at.
      return record.svidgate.tokens?.some(({ issuer }) => issuer === name) === true ? 'present' : 'absent';
    case 'jwt-provider':
      return providerPresence(record, name);
  }
}

function presenceAt(record: DecisionRecord, path: readonly string[]): Presence {
  const pointer = ['/input', ...path.map(escapeSegment)].join('/');
  const removed = [...(record.erased ?? []), ...(record.masked ?? []), ...(record.svidgate.unreplayable ?? [])];
  if (removed.some((each) => each === pointer || each.startsWith(`${pointer}/`))) return 'present';
  if (valueAt(record.input, path) !== undefined) return 'present';
  if (removed.some((each) => pointer.startsWith(`${each}/`))) return 'unknown';
  return isLookedAt(record, path) ? 'absent' : 'unknown';
}

function providerPresence(record: DecisionRecord, name: string): Presence {
  const provider = ['svidgate', 'jwt', 'provider'];
  if (valueAt(record.input, provider) === name) return 'present';
  const tokens = valueAt(record.input, ['svidgate', 'jwt', 'tokens']);
  if (Array.isArray(tokens)) {
    const isOfIt = (token: unknown): boolean => isJsonObject(token) && token['provider'] === name;
    return tokens.some(isOfIt) ? 'present' : 'absent';
  }
  return isLookedAt(record, provider) ? 'absent' : 'unknown';
}

/** Whether the record would have it. */
function isLookedAt({ input, svidgate: { recorded } }: DecisionRecord, path: readonly string[]): boolean {
  if (input === undefined || recorded === undefined) return false;
  return (
    recorded === 'all' ||
    recorded.some((known) => known.length <= path.length && known.every((key, at) => key === path[at]))
  );
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  let found = value;
  for (const key of path) found = isJsonObject(found) && Object.hasOwn(found, key) ? found[key] : undefined;
  return found;
}

function escapeSegment(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}
