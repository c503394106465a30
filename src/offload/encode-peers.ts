import { SvidgateError } from '../core/index.ts';
import {
  encodeMessage,
  MtlsAuthenticated,
  packAny,
  SanType,
  type PrincipalInit,
  type StringMatcherInit,
} from '../proto/index.ts';
import { ANYTHING, encodeText, regex } from './encode-text.ts';
import type { PeerMatch, TextMatch } from './offload-rules.ts';

/** Of SPIFFE IDs. RE2 takes no more than 1,000 groups within each other. */
const MAX_ID_LENGTH = 900;

/** What a SPIFFE ID is made of (SPIFFE-ID §2): nothing that a regular expression would take for more than itself, but the dot. */
const ID_CHARACTERS = /^[A-Za-z0-9:/._-]+$/;

const MTLS_TYPE_URL = 'type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config';

/**
 * Whom a rule is for: nobody that it does not say. Envoy looks for any SAN that matches, so that a certificate has one URI SAN
 * alone is said by that it has no other one than the exact ID; of a prefix that cannot be said, and undefined is given where
 * no exact ID is left.
 */
export function encodePeers(peer: PeerMatch): PrincipalInit | undefined {
  const except = peer.except.map((match): PrincipalInit => ({ notId: presented(match) }));
  if (peer.kind === 'anyone') return except.length === 0 ? { any: true } : allOf(except);
  if (peer.of.length === 0) throw new SvidgateError('internal', 'rules for Envoy: an empty list of peers');
  const only = peer.of.flatMap((match) => exactly(match) ?? []);
  if (only.length === 0) return undefined;
  return allOf([only.length === 1 ? (only[0] as PrincipalInit) : { orIds: { ids: only } }, ...except]);
}

/** For what may be allowed by whoever decides: everyone whom a rule could be for, and rather more. */
export function encodeOuterPeers(peer: PeerMatch): PrincipalInit {
  if (peer.kind === 'anyone') return { any: true };
  if (peer.of.length === 0) throw new SvidgateError('internal', 'rules for Envoy: an empty list of peers');
  const ids = peer.of.map(presented);
  return ids.length === 1 ? (ids[0] as PrincipalInit) : { orIds: { ids } };
}

/** Verified, with this one URI SAN and no other. */
function exactly(match: TextMatch): PrincipalInit | undefined {
  if (match.kind !== 'exact' || match.text.length > MAX_ID_LENGTH || !ID_CHARACTERS.test(match.text)) return undefined;
  return allOf([verified({ exact: match.text }), { notId: verified(regex(anythingBut(match.text))) }]);
}

/** In a certificate, whether Envoy has verified it or not. */
function presented(match: TextMatch): PrincipalInit {
  return { authenticated: { principalName: encodeText(match) } };
}

function verified(matcher: StringMatcherInit): PrincipalInit {
  const config = encodeMessage(MtlsAuthenticated, { sanMatcher: { sanType: SanType.URI, matcher } });
  return { custom: { name: 'envoy.rbac.principals.mtls_authenticated', typedConfig: packAny(MTLS_TYPE_URL, config) } };
}

function allOf(ids: readonly PrincipalInit[]): PrincipalInit {
  return ids.length === 1 ? (ids[0] as PrincipalInit) : { andIds: { ids: [...ids] } };
}

/**
 * A regular expression for every text but one, since RE2 has no negative lookahead: it ends too early, goes on, or differs in
 * a character. One gap: a byte that is no UTF-8, in the place of a single character, is not told from it.
 */
function anythingBut(text: string): string {
  let pattern = String.raw`\C+`;
  for (const character of text.split('').toReversed()) {
    pattern = `(?:|${escaped(character)}${pattern}|[^${escaped(character)}]${ANYTHING})`;
  }
  return pattern;
}

function escaped(character: string): string {
  return character === '.' || character === '-' ? `\\${character}` : character;
}
