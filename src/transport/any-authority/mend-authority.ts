import type { BlockField } from './decode-block.ts';

/** What a request has in the place of an authority that Node refuses. Nothing of ours looks at it. */
export const MENDED_AUTHORITY = 'localhost';

/**
 * A host name or an address, with or without a port: what every version of nghttp2 takes. They differ on the other
 * characters of RFC 3986 §3.2, and to mend one too many does no harm.
 */
const ACCEPTED = /^(?:[A-Za-z0-9%._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?$/;

/** No control characters (RFC 9113 §8.2.1), which other servers refuse as well. Bytes as latin1. */
// oxlint-disable-next-line no-control-regex -- they are what it is about
const FIELD_VALUE = /^[^\x00-\x08\x0a-\x1f\x7f]*$/;

/**
 * The fields of a request with an authority that Node accepts, or undefined when there is nothing to mend: the authority
 * is good, the block is no request, or it is broken in another way that the server shall answer.
 */
export function mendAuthority(fields: readonly BlockField[]): readonly BlockField[] | undefined {
  const method = fields.find(({ name }) => name === ':method');
  if (method === undefined || method.value === 'CONNECT') return undefined;
  const [authority, ...others] = fields.filter(({ name }) => name === ':authority');
  if (others.length > 0) return undefined;
  if (authority !== undefined) {
    if (ACCEPTED.test(authority.value) || !FIELD_VALUE.test(authority.value)) return undefined;
    return fields.map((field) => (field === authority ? { ...field, value: MENDED_AUTHORITY } : field));
  }
  if (fields.some(({ name, value }) => name === 'host' && ACCEPTED.test(value))) return undefined;
  return [{ name: ':authority', value: MENDED_AUTHORITY }, ...fields];
}
