import { createRoot, generateKeyPair, signerFor } from '../../pki/index.ts';
import type { CertificateValidationContextInit } from '../../proto/index.ts';
import type { TrustDomain } from '../../spiffe/index.ts';
import { contextOf, matchersFor, type Validator } from './validation-context.ts';

/** A validation context that nobody passes, with the SPIFFE validator for exactly these trust domains. */
export type ClosedContext = (
  trustDomains: readonly TrustDomain[],
  validator: Validator,
) => CertificateValidationContextInit;

const DAY_MS = 24 * 3600_000;
/** Never shown as about to end while a process lives. */
const LIFE_MS = 100 * 365 * DAY_MS;

/**
 * Envoy ignores the removal of a secret and refuses a context without roots, so trust is taken away by a root whose key
 * nobody has, and a name that no certificate has.
 * @param now epoch milliseconds
 */
export async function createClosedContext(now: number): Promise<ClosedContext> {
  const { certificate } = await createRoot({
    uri: 'spiffe://closed.invalid',
    organization: 'svidgate: nobody',
    signer: signerFor(generateKeyPair().privateKey), // thrown away with this expression
    notBefore: now - DAY_MS,
    notAfter: now + LIFE_MS,
  });
  const make = (trustDomains: readonly TrustDomain[], validator: Validator): CertificateValidationContextInit => {
    // Without the SPIFFE validator a domain's name is not used, and one root is enough.
    const domains = validator === 'spiffe' ? trustDomains : trustDomains.slice(0, 1);
    const roots = domains.map((trustDomain) => ({ trustDomain, x509Authorities: [certificate] }));
    return { ...contextOf(roots, validator), matchTypedSubjectAltNames: [...matchersFor([])] };
  };
  // A caller can ask for thousands, under names that it makes up: all alike.
  let last: { readonly key: string; readonly context: CertificateValidationContextInit } | undefined;
  return (trustDomains, validator) => {
    const key = `${validator} ${trustDomains.join(' ')}`;
    if (last?.key !== key) last = { key, context: make(trustDomains, validator) };
    return last.context;
  };
}
