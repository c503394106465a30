import { createHash } from 'node:crypto';
import { pemEncode } from '../../pki/index.ts';
import { encodeMessage, Secret, type SecretInit } from '../../proto/index.ts';
import type { SecretContent } from '../../secrets/index.ts';
import type { JwtSvid, SpiffeIdPattern, TrustBundle, X509Svid } from '../../spiffe/index.ts';
import type { EncodedResource, ResourceFacts } from '../../discovery/index.ts';
import { contextOf, inline, matchersFor, type Validator } from './validation-context.ts';

/**
 * Encodes the secret under its name.
 * @param salt goes into the version, where that could tell the content
 */
export function encodeSecret(
  secret: SecretInit & { readonly name: string },
  facts: ResourceFacts,
  salt: Uint8Array = NO_SALT,
): EncodedResource {
  // A copy: what the encoder gives is a piece of a larger buffer, that would be kept for as long as the secret.
  const bytes = Uint8Array.from(encodeMessage(Secret, secret));
  const version = createHash('sha256').update(salt).update(bytes).digest('hex').slice(0, 16);
  return { name: secret.name, version, bytes, facts };
}

const NO_SALT = new Uint8Array();

/** PEM with one block for each certificate, leaf first; the key as PKCS#8. */
export function encodeX509Svid(name: string, svid: X509Svid): EncodedResource {
  const chain = svid.certificateChain.map((der) => pemEncode('CERTIFICATE', der)).join('');
  const { spiffeId, serial, notAfter: expiresAt } = svid;
  return encodeSecret(
    {
      name,
      tlsCertificate: {
        certificateChain: inline(chain),
        privateKey: inline(pemEncode('PRIVATE KEY', svid.privateKey)),
      },
    },
    { kind: 'x509_svid', spiffeId, serial, expiresAt },
  );
}

export function encodeJwtSvid(name: string, prefix: string, { token, spiffeId, expiresAt }: JwtSvid): EncodedResource {
  return encodeSecret(
    { name, genericSecret: { secret: inline(prefix + token) } },
    { kind: 'jwt_svid', spiffeId, expiresAt },
  );
}

/** How a validation context is made. */
export interface ContextShape {
  readonly validator: Validator;
  /** Whom it lets in; everybody with a certificate of the trust domains when absent. */
  readonly peers?: readonly SpiffeIdPattern[] | undefined;
}

/** @param own our own trust domain's bundle, when it is one of them */
export function encodeBundles(
  name: string,
  bundles: { readonly all: readonly TrustBundle[]; readonly own: TrustBundle | undefined },
  { validator, peers }: ContextShape,
): EncodedResource {
  // Plain roots of one domain could sign for an ID of another.
  const able = validator === 'spiffe' ? peers : peers?.filter((peer) => bundles.all.some((one) => isOf(peer, one)));
  const validationContext = { ...contextOf(bundles.all, validator), ...narrowedTo(able) };
  const facts: ResourceFacts = {
    kind: 'bundle',
    ...(bundles.own === undefined ? {} : { bundleSequence: bundles.own.sequence }),
  };
  return encodeSecret({ name, validationContext }, facts);
}

/** `peers` concerns a validation context only; `salt` a secret that somebody could guess. */
export function encodeContent(
  name: string,
  content: SecretContent,
  { peers, salt }: { readonly peers: readonly SpiffeIdPattern[] | undefined; readonly salt: Uint8Array },
): EncodedResource {
  switch (content.kind) {
    case 'generic':
      return encodeSecret({ name, genericSecret: { secret: inline(content.bytes) } }, { kind: 'generic' }, salt);
    case 'tls_certificate': {
      const { certificateChain, privateKey, serial, notAfter: expiresAt } = content;
      const tlsCertificate = { certificateChain: inline(certificateChain), privateKey: inline(privateKey) };
      return encodeSecret({ name, tlsCertificate }, { kind: 'tls_certificate', serial, expiresAt });
    }
    case 'validation_context': {
      const validationContext = { trustedCa: inline(content.ca), ...narrowedTo(peers) };
      return encodeSecret({ name, validationContext }, { kind: 'validation_context' });
    }
    case 'session_tickets': {
      const keys = content.keys.map((key) => inline(key));
      return encodeSecret({ name, sessionTicketKeys: { keys } }, { kind: 'session_tickets' });
    }
  }
}

function isOf(peer: SpiffeIdPattern, { trustDomain }: TrustBundle): boolean {
  const text = peer.kind === 'exact' ? peer.spiffeId : peer.prefix;
  return text.startsWith(`spiffe://${trustDomain}/`);
}

function narrowedTo(peers: readonly SpiffeIdPattern[] | undefined) {
  return peers === undefined ? {} : { matchTypedSubjectAltNames: [...matchersFor(peers)] };
}
