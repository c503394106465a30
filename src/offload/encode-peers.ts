import { SvidgateError } from '../core/index.ts';
import {
  encodeMessage,
  MtlsAuthenticated,
  packAny,
  SanType,
  type PrincipalInit,
  type StringMatcherInit,
} from '../proto/index.ts';
import { encodeText } from './encode-text.ts';
import type { PeerMatch, TextMatch } from './offload-rules.ts';
import { hasOtherIds, noSpiffeIds, otherIds } from './other-ids.ts';

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

/** Whether Envoy can be told who that is. */
export function canTellPeer(match: TextMatch): boolean {
  return match.kind === 'exact' && hasOtherIds(match.text);
}

/** Verified, with this one URI SAN and no other. */
function exactly(match: TextMatch): PrincipalInit | undefined {
  if (match.kind !== 'exact' || !canTellPeer(match)) return undefined;
  // Names and the subject of a certificate are no SPIFFE IDs: for those the smaller form does, which looks at them, too.
  const others = otherIds(match.text).map((principalName): PrincipalInit => ({ authenticated: { principalName } }));
  return allOf([
    verified({ exact: match.text }),
    { notId: { orIds: { ids: [...others, ...noSpiffeIds().map(verified)] } } },
  ]);
}

/** In a certificate, whether Envoy has verified it or not. */
function presented(match: TextMatch): PrincipalInit {
  return { authenticated: { principalName: encodeText(match) } };
}

function verified(matcher: StringMatcherInit): PrincipalInit {
  const config = encodeMessage(MtlsAuthenticated, { sanMatcher: { sanType: SanType.URI, matcher } });
  return { custom: { name: 'mtls', typedConfig: packAny(MTLS_TYPE_URL, config) } };
}

function allOf(ids: readonly PrincipalInit[]): PrincipalInit {
  return ids.length === 1 ? (ids[0] as PrincipalInit) : { andIds: { ids: [...ids] } };
}
