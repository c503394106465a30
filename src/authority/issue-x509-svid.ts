import { SvidgateError } from '../core/index.ts';
import { createLeafIssuer, generateEncodedKeyPair, type LeafIssuer } from '../pki/index.ts';
import type { SpiffeId, X509Svid } from '../spiffe/index.ts';
import { ORGANIZATION } from './create-slot.ts';
import type { SigningKey } from './key-manager.ts';
import { BACKDATE_MS } from './rotation-plan.ts';
import type { X509Slot } from './slot.ts';

/** Key types of X.509-SVIDs. */
export type SvidKeyType = 'ec-p256' | 'ec-p384' | 'rsa-2048';

/** Signs one X.509-SVID in the name of the CA. */
export async function issueX509Svid(
  ca: { readonly slot: X509Slot; readonly key: SigningKey },
  request: {
    readonly spiffeId: SpiffeId;
    readonly dnsNames?: readonly string[] | undefined;
    readonly keyType: SvidKeyType;
    readonly ttlMs: number;
    readonly now: number;
  },
): Promise<X509Svid> {
  const { slot } = ca;
  const { spiffeId, dnsNames, now } = request;
  // Certificates hold whole seconds: rounded up, so that it lives for the time asked, and a CA's end is a whole second.
  const notAfter = Math.ceil(Math.min(now + request.ttlMs, slot.notAfter) / 1000) * 1000;
  const notBefore = Math.floor((now - BACKDATE_MS) / 1000) * 1000;
  if (notAfter <= now) throw new SvidgateError('authority_failed', `CA ${slot.id} has ended`);
  // The clock was set back: nobody would take what it signs until then, and its successor is on its way.
  if (now < slot.notBefore) throw new SvidgateError('authority_failed', `CA ${slot.id} is not valid yet`);
  // The clock was set back. It is replaced within a minute; what it signed until then would be held for half a life.
  if (now < slot.notBefore) throw new SvidgateError('authority_failed', `CA ${slot.id} is not valid yet`);
  const { privateKey, publicKey } = await generateEncodedKeyPair(request.keyType);
  const leaf = { uri: spiffeId, dnsNames, organization: ORGANIZATION, publicKey, notBefore, notAfter };
  const { certificate, serial } = await leafIssuerOf(ca).issue(leaf);
  return {
    spiffeId,
    certificateChain: [certificate, ...intermediatesOf(slot)],
    privateKey,
    serial,
    authorityId: slot.id,
    notBefore,
    notAfter,
  };
}

const leafIssuers = new WeakMap<SigningKey, LeafIssuer>();

/** Made once for each key, since its part of each leaf is encoded then. */
function leafIssuerOf({ slot, key }: { readonly slot: X509Slot; readonly key: SigningKey }): LeafIssuer {
  const [certificate = new Uint8Array()] = slot.chain;
  const found = leafIssuers.get(key) ?? createLeafIssuer({ certificate, signer: key });
  leafIssuers.set(key, found);
  return found;
}

/** What stands between a leaf and the roots; nothing below a CA that is a root itself. */
export function intermediatesOf(slot: X509Slot): readonly Uint8Array[] {
  return slot.chain.filter((certificate) => !slot.roots.some((root) => Buffer.from(root).equals(certificate)));
}
