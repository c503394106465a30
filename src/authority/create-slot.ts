import { randomInt } from 'node:crypto';
import { SvidgateError, type Clock } from '../core/index.ts';
import { createCsr, createRoot, keyIdOf, parseCertificate, spkiOf, type Certificate } from '../pki/index.ts';
import { trustDomainId, type TrustDomain } from '../spiffe/index.ts';
import type { SigningKey } from './key-manager.ts';
import { BACKDATE_MS } from './rotation-plan.ts';
import type { JwtSlot, X509Slot } from './slot.ts';
import type { MintedCa, UpstreamAuthority } from './upstream-authority.ts';

/** Organization of the subjects we issue; SPIFFE IDs stand in the URI SAN alone. */
export const ORGANIZATION = 'svidgate';

export interface SlotRequest {
  readonly trustDomain: TrustDomain;
  readonly key: SigningKey;
  readonly clock: Clock;
  readonly ttlMs: number;
  /** The bundle's sequence number that it is published with. */
  readonly sequence: number;
}

const PREPARED = { state: 'prepared', activationRequested: false } as const;

/** A new CA that signed itself, and is its own root. */
export async function createRootSlot(request: SlotRequest): Promise<X509Slot> {
  const { key, ttlMs } = request;
  const now = request.clock.now();
  const { certificate } = await createRoot({
    uri: trustDomainId(request.trustDomain),
    organization: ORGANIZATION,
    signer: key,
    notBefore: now - BACKDATE_MS,
    notAfter: now + ttlMs,
  });
  return x509Slot(request, { chain: [certificate], roots: [certificate] });
}

/**
 * A new intermediate CA. What the upstream gives is checked as strangers will check it: an upstream that is set up wrongly
 * must not end in SVIDs that nobody takes. Throws `upstream_failed`.
 */
export async function createIntermediateSlot(
  request: SlotRequest,
  upstream: UpstreamAuthority,
  signal: AbortSignal,
): Promise<X509Slot> {
  const { key, trustDomain, ttlMs } = request;
  const uri = trustDomainId(trustDomain);
  const csr = await createCsr({ uri, organization: ORGANIZATION, signer: key });
  const minted = await upstream.mintCa({ csr, ttlMs, signal });
  const roots = checkMinted(minted, { key, uri, now: request.clock.now(), kind: upstream.kind });
  const issuer = minted.chain[1] ?? roots[0];
  return {
    ...x509Slot(request, { chain: minted.chain, roots }),
    upstream: { kind: upstream.kind, authorityId: issuer === undefined ? '' : keyIdOf(issuer) },
  };
}

function x509Slot(request: SlotRequest, minted: MintedCa): X509Slot {
  const [ca, ...above] = minted.chain.map(parseCertificate);
  const roots = minted.roots.map(parseCertificate);
  if (ca === undefined) throw new SvidgateError('upstream_failed', 'the upstream authority gave no certificate');
  return {
    ...PREPARED,
    kind: 'x509',
    id: keyIdOf(ca.der),
    keyId: request.key.id,
    keyType: request.key.type,
    notBefore: Math.max(ca.notBefore, ...above.map(({ notBefore }) => notBefore)),
    notAfter: Math.min(
      ...[ca, ...above].map(({ notAfter }) => notAfter),
      Math.max(...roots.map(({ notAfter }) => notAfter)),
    ),
    publishedSequence: request.sequence,
    publishedAt: request.clock.now(),
    chain: minted.chain,
    roots: minted.roots,
  };
}

/** A new key for JWT-SVIDs. Its `kid` is random and says nothing, as SPIRE's. */
export function createJwtSlot(request: SlotRequest): JwtSlot {
  const now = request.clock.now();
  return {
    ...PREPARED,
    kind: 'jwt',
    id: randomText(32),
    keyId: request.key.id,
    keyType: request.key.type,
    notBefore: now - BACKDATE_MS,
    notAfter: now + request.ttlMs,
    publishedSequence: request.sequence,
    publishedAt: now,
    publicKey: spkiOf(request.key.publicKey),
  };
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

function randomText(length: number): string {
  return Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
}

/** Of an authority, in the journal: of 64 bytes in hexadecimal. Ours has 20. */
const MAX_ID_LENGTH = 128;

/** The roots that the chain leads to. */
function checkMinted(
  minted: MintedCa,
  expected: { readonly key: SigningKey; readonly uri: string; readonly now: number; readonly kind: string },
): readonly Uint8Array[] {
  const fail = (why: string, cause?: unknown): never => {
    throw new SvidgateError('upstream_failed', `upstream authority ${expected.kind} gave an unusable CA: ${why}`, {
      cause,
    });
  };
  let chain: readonly Certificate[];
  let roots: readonly Certificate[];
  try {
    chain = minted.chain.map(parseCertificate);
    roots = minted.roots.map(parseCertificate);
  } catch (error) {
    return fail('a certificate cannot be read', error);
  }
  const [ca] = chain;
  const top = chain.at(-1);
  if (ca === undefined || top === undefined) return fail('the chain is empty');
  if (keyIdOf(ca.der).length > MAX_ID_LENGTH) fail('its subject key identifier is too long');
  if (!isSame(ca.publicKey, spkiOf(expected.key.publicKey))) fail('it is for another key');
  if (ca.uris.some((uri) => uri !== expected.uri)) fail(`it names ${ca.uris.join(', ')}, expected ${expected.uri}`);
  for (const [depth, certificate] of chain.entries()) {
    const why = caRefusal(certificate, { depth, now: expected.now });
    if (why !== undefined) fail(why);
    if (depth > 0 && chain[depth - 1]?.isSignedBy(certificate) !== true) fail('the chain is not in order');
  }
  const leads = (root: Certificate): boolean =>
    isSame(root.der, top.der) ||
    (caRefusal(root, { depth: chain.length, now: expected.now }) === undefined && top.isSignedBy(root));
  const valid = roots.filter(leads);
  return valid.length === 0 ? fail('its chain leads to none of its roots') : valid.map(({ der }) => der);
}

/** Why the certificate cannot stand above `depth` intermediates. */
function caRefusal(ca: Certificate, at: { readonly depth: number; readonly now: number }): string | undefined {
  if (!ca.isCa || ca.keyUsage?.keyCertSign !== true) return 'a certificate of the chain may not sign certificates';
  if (ca.pathLength !== undefined && ca.pathLength < at.depth) return 'a path length on the chain is too short';
  if (ca.unknownCritical.length > 0) return `it has an unknown critical extension ${ca.unknownCritical.join(', ')}`;
  if (at.now >= ca.notAfter) return 'a certificate of the chain has ended';
  return at.now < ca.notBefore ? 'a certificate of the chain is not valid yet; compare the clocks' : undefined;
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.from(one).equals(other);
}
