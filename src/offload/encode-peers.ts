import { SvidgateError } from '../core/index.ts';
import {
  encodeMessage,
  MtlsAuthenticated,
  packAny,
  SanType,
  type MtlsAuthenticatedInit,
  type PrincipalInit,
  type StringMatcherInit,
} from '../proto/index.ts';
import { encodeText } from './encode-text.ts';
import type { PeerMatch, TextMatch } from './offload-rules.ts';
import { hasOtherIds, otherBeginnings, otherIds } from './other-ids.ts';

const MTLS_TYPE_URL = 'type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config';

/**
 * Whom a rule is for: nobody that it does not say. Envoy looks for any SAN that matches, so that a certificate has one URI SAN
 * alone is said by that it has no other one than the exact ID; of a prefix that cannot be said, and undefined is given where
 * no exact ID is left.
 */
export function encodePeers(peer: PeerMatch): PrincipalInit | undefined {
  const except = peer.except.map((match): PrincipalInit => ({ notId: presented(match) }));
  if (peer.kind === 'anyone') {
    const without = peer.withoutCertificate === true ? [...except, ...NO_CERTIFICATE] : except;
    return without.length === 0 ? { any: true } : allOf(without);
  }
  if (peer.of.length === 0) throw new SvidgateError('internal', 'rules for Envoy: an empty list of peers');
  const ids = peer.of.flatMap((match) => (match.kind === 'exact' && canTellPeer(match) ? [match.text] : []));
  if (ids.length === 0) return undefined;
  // What their other URI SANs may not be either is said once for all of them.
  const common = ids.length === 1 ? '' : commonBeginning(ids);
  const only = ids.map((id) => allOf([verified({ exact: id }), noneOf(otherIds(id, common))]));
  return allOf([anyOf(only), ...(common === '' ? [] : [noneOf(otherBeginnings(common))]), ...except]);
}

/** For what may be allowed by whoever decides: everyone whom a rule could be for, and rather more. */
export function encodeOuterPeers(peer: PeerMatch): PrincipalInit {
  if (peer.kind === 'anyone') return { any: true };
  if (peer.of.length === 0) throw new SvidgateError('internal', 'rules for Envoy: an empty list of peers');
  const ids = peer.of.map(presented);
  return anyOf(ids);
}

/**
 * `authenticated` without a name is for every connection with TLS, so that certificates that are not verified are told by that they
 * have a name, and those without any by that they are verified. What is neither is not seen.
 */
const NO_CERTIFICATE: readonly PrincipalInit[] = [
  { notId: presented({ kind: 'regex', regex: String.raw`\C+` }) },
  { notId: mtlsAuthenticated({ anyValidatedClientCertificate: true }) },
];

/** Whether Envoy can be told who that is. */
export function canTellPeer(match: TextMatch): boolean {
  return match.kind === 'exact' && hasOtherIds(match.text);
}

/** Not by `authenticated`: a text that it does not find costs Envoy five times as much, as it looks at other names, too. */
function noneOf(matchers: readonly StringMatcherInit[]): PrincipalInit {
  return { notId: anyOf(matchers.map(verified)) };
}

function commonBeginning([first = '', ...rest]: readonly string[]): string {
  let length = 0;
  while (length < first.length && rest.every((id) => id.charAt(length) === first.charAt(length))) length += 1;
  return first.slice(0, length);
}

/** In a certificate, whether Envoy has verified it or not. */
function presented(match: TextMatch): PrincipalInit {
  return { authenticated: { principalName: encodeText(match) } };
}

function verified(matcher: StringMatcherInit): PrincipalInit {
  return mtlsAuthenticated({ sanMatcher: { sanType: SanType.URI, matcher } });
}

function mtlsAuthenticated(config: MtlsAuthenticatedInit): PrincipalInit {
  const typedConfig = packAny(MTLS_TYPE_URL, encodeMessage(MtlsAuthenticated, config));
  return { custom: { name: 'mtls', typedConfig } };
}

function allOf(ids: readonly PrincipalInit[]): PrincipalInit {
  return ids.length === 1 ? (ids[0] as PrincipalInit) : { andIds: { ids: [...ids] } };
}

function anyOf(ids: readonly PrincipalInit[]): PrincipalInit {
  return ids.length === 1 ? (ids[0] as PrincipalInit) : { orIds: { ids: [...ids] } };
}
