import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { describeError, SvidgateError } from '../../core/index.ts';
import { parseCertificate, publicKeyFromJwk, splitDer, type Certificate } from '../../pki/index.ts';
import { decodeMessage, JwtBundlesResponse, X509SvidResponse } from '../../proto/index.ts';
import {
  parseSpiffeId,
  parseTrustDomain,
  parseUniqueJson,
  pathOf,
  trustDomainOf,
  type JwtAuthority,
  type SpiffeId,
  type TrustDomain,
  type X509Svid,
} from '../../spiffe/index.ts';

/** The largest answer of an agent: some thousand SVIDs. */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** What FetchX509SVID gives at a moment. */
export interface AgentIdentities {
  /** At least one; where several have one ID, the first. */
  readonly svids: ReadonlyMap<SpiffeId, X509Svid>;
  /** Of the trust domain of all SVIDs. DER. */
  readonly x509Authorities: readonly Uint8Array[];
  readonly foreign: ReadBundles<Uint8Array>;
}

/**
 * Bundles of an answer. What other trust domains publish is not the agent's fault: a foreign bundle that cannot be read costs
 * nobody else theirs.
 */
export interface ReadBundles<Key> {
  readonly bundles: ReadonlyMap<TrustDomain, readonly Key[]>;
  /** Why those of these foreign trust domains cannot be read. */
  readonly unreadable: ReadonlyMap<TrustDomain, string>;
}

/**
 * Reads an answer of FetchX509SVID (Workload API §5.2.1), foreign bundles apart, as a whole. Throws `invalid_request` or
 * `certificate_invalid` when one part of it is wrong: an SVID of another trust domain, for another ID than it says, or whose key is
 * another one's; an own bundle without CAs.
 */
export function readX509Svids(bytes: Uint8Array, trustDomain: TrustDomain): AgentIdentities {
  const { svids: messages, federatedBundles } = decodeMessage(X509SvidResponse, bytes, MAX_ANSWER_BYTES);
  const [first] = messages;
  if (first === undefined) throw invalid('the answer has no SVID');
  const x509Authorities = readAuthorities(first.bundle);
  if (x509Authorities.length === 0) throw invalid(`the answer has no bundle of ${trustDomain}`);
  const roots = x509Authorities.map(parseCertificate);
  const svids = new Map<SpiffeId, X509Svid>();
  for (const message of messages) {
    const spiffeId = parseSpiffeId(message.spiffeId);
    if (trustDomainOf(spiffeId) !== trustDomain) {
      throw invalid(`the agent's trust domain is ${trustDomainOf(spiffeId)}, but trust_domain is ${trustDomain}`);
    }
    if (pathOf(spiffeId) === '') throw invalid(`${spiffeId} is a trust domain and no workload`);
    if (!svids.has(spiffeId)) svids.set(spiffeId, readSvid(message, { spiffeId, roots }));
  }
  return {
    svids,
    x509Authorities,
    foreign: readBundles(federatedBundles, { read: readAuthorities, own: trustDomain }),
  };
}

/** Reads an answer of FetchJWTBundles (Workload API §6.2.2). Throws `invalid_request` when the own bundle is wrong. */
export function readJwtBundles(bytes: Uint8Array, own: TrustDomain): ReadBundles<JwtAuthority> {
  const { bundles } = decodeMessage(JwtBundlesResponse, bytes, MAX_ANSWER_BYTES);
  return readBundles(bundles, { read: readJwkSet, own });
}

function readBundles<Key>(
  encoded: Readonly<Record<string, Uint8Array>>,
  by: { readonly read: (bytes: Uint8Array, trustDomain: TrustDomain) => readonly Key[]; readonly own: TrustDomain },
): ReadBundles<Key> {
  const bundles = new Map<TrustDomain, readonly Key[]>();
  const unreadable = new Map<TrustDomain, string>();
  for (const [name, bytes] of Object.entries(encoded)) {
    const trustDomain = readTrustDomain(name);
    try {
      bundles.set(trustDomain, by.read(bytes, trustDomain));
    } catch (error) {
      if (trustDomain === by.own) throw error;
      unreadable.set(trustDomain, describeError(error));
    }
  }
  return { bundles, unreadable };
}

function readSvid(
  message: { readonly x509Svid: Uint8Array; readonly x509SvidKey: Uint8Array },
  { spiffeId, roots }: { readonly spiffeId: SpiffeId; readonly roots: readonly Certificate[] },
): X509Svid {
  const [leaf, ...intermediates] = splitDer(message.x509Svid).map(parseCertificate);
  if (leaf === undefined) throw invalid(`the SVID of ${spiffeId} has no certificate`);
  if (leaf.uris.length !== 1 || leaf.uris[0] !== spiffeId || leaf.isCa) {
    throw invalid(`the certificate of ${spiffeId} is not one for it alone`);
  }
  const privateKey = readKey(message.x509SvidKey, spiffeId);
  if (!leaf.isFor({ privateKey, publicKey: createPublicKey(privateKey) })) {
    throw invalid(`the key of ${spiffeId} is not that of its certificate`);
  }
  const issuer = [...intermediates, ...roots].find((ca) => leaf.isSignedBy(ca));
  return {
    spiffeId,
    certificateChain: [leaf, ...intermediates].map(({ der }) => der),
    // A copy: the message's bytes are a view of the whole answer.
    privateKey: new Uint8Array(message.x509SvidKey),
    serial: leaf.serial,
    authorityId: issuer?.subjectKeyId ?? '',
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
  };
}

function readKey(pkcs8: Uint8Array, spiffeId: SpiffeId): KeyObject {
  try {
    return createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' });
  } catch {
    throw invalid(`the key of ${spiffeId} is not PKCS#8 in DER`);
  }
}

/** CA certificates. An empty list is one that trusts nobody. */
function readAuthorities(der: Uint8Array): readonly Uint8Array[] {
  return splitDer(der).map((bytes) => {
    const certificate = parseCertificate(bytes);
    if (!certificate.isCa) throw invalid('a bundle holds a certificate that is no CA');
    return certificate.der;
  });
}

/** A standard JWK Set. Keys without `kid`, for another use or of another type than JWT-SVIDs have are passed over. */
function readJwkSet(bytes: Uint8Array, trustDomain: TrustDomain): readonly JwtAuthority[] {
  const refuse = (cause?: unknown): SvidgateError => invalid(`the keys of ${trustDomain} are no JWK Set`, cause);
  let document: unknown;
  try {
    document = parseUniqueJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw refuse(cause);
  }
  const keys = isObject(document) ? document['keys'] : undefined;
  if (!Array.isArray(keys)) throw refuse();
  return keys.flatMap((key: unknown) => {
    if (!isObject(key) || typeof key['kid'] !== 'string' || key['kid'] === '') return [];
    if (key['use'] !== undefined && key['use'] !== 'jwt-svid') return [];
    if (key['kty'] !== 'EC' && key['kty'] !== 'RSA') return [];
    return [{ keyId: key['kid'], publicKey: publicKeyFromJwk(key) }];
  });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `spiffe://td`, as the Workload API has it, or the bare name. */
function readTrustDomain(name: string): TrustDomain {
  return name.startsWith('spiffe://') ? trustDomainOf(parseSpiffeId(name)) : parseTrustDomain(name);
}

function invalid(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('invalid_request', message, { cause });
}
