import { createHash } from 'node:crypto';
import { SvidgateError } from '../../core/index.ts';
import { pemEncode } from '../../pki/index.ts';
import {
  encodeMessage,
  packAny,
  Secret,
  SECRET_TYPE_URL,
  SPIFFE_CERT_VALIDATOR_TYPE_URL,
  SpiffeCertValidatorConfig,
  type AnyInit,
  type CertificateValidationContextInit,
  type DataSourceInit,
  type SecretInit,
  type TlsCertificateInit,
} from '../../proto/index.ts';
import type { TrustBundle, X509Svid } from '../../spiffe/index.ts';
import type { NamedSecret } from './resource-names.ts';

const SPIFFE_VALIDATOR = 'envoy.tls.cert_validator.spiffe';

/** Resources of one answer, encoded, and a hash of them. The same content has the same version on every stream. */
export interface EncodedSecrets {
  readonly resources: readonly AnyInit[];
  readonly version: string;
}

/** Throws `invalid_request` when all bundles are asked for without the SPIFFE validator, which alone keeps domains apart. */
export function encodeSecrets(secrets: readonly NamedSecret[], spiffeValidator: boolean): EncodedSecrets {
  const hash = createHash('sha256');
  const resources = secrets.map((secret) => {
    const bytes = encodeMessage(Secret, toSecret(secret, spiffeValidator));
    hash.update(`${bytes.length}:`).update(bytes);
    return packAny(SECRET_TYPE_URL, bytes);
  });
  return { resources, version: hash.digest('hex').slice(0, 16) };
}

function toSecret(secret: NamedSecret, spiffeValidator: boolean): SecretInit {
  switch (secret.kind) {
    case 'svid':
      return { name: secret.name, tlsCertificate: toTlsCertificate(secret.svid) };
    case 'bundle':
      return {
        name: secret.name,
        validationContext: spiffeValidator ? spiffeContext([secret.bundle]) : plainContext(secret.bundle),
      };
    case 'all-bundles':
      if (!spiffeValidator) {
        throw new SvidgateError(
          'invalid_request',
          `${secret.name} needs the SPIFFE certificate validator (Envoy 1.18)`,
        );
      }
      return { name: secret.name, validationContext: spiffeContext(secret.bundles) };
  }
}

/** PEM with one block for each certificate, leaf first; the key as PKCS#8. */
function toTlsCertificate(svid: X509Svid): TlsCertificateInit {
  const chain = svid.certificateChain.map((der) => pemEncode('CERTIFICATE', der)).join('');
  return { certificateChain: inline(chain), privateKey: inline(pemEncode('PRIVATE KEY', svid.privateKey)) };
}

/** A domain without a root is left out: Envoy would refuse the whole secret for it. */
function spiffeContext(bundles: readonly TrustBundle[]): CertificateValidationContextInit {
  const trustDomains = bundles
    .filter((bundle) => bundle.x509Authorities.length > 0)
    .map((bundle) => ({ name: bundle.trustDomain, trustBundle: inline(rootsPem(bundle) + revocationsPem(bundle)) }))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
  const config = encodeMessage(SpiffeCertValidatorConfig, { trustDomains });
  return {
    customValidatorConfig: {
      name: SPIFFE_VALIDATOR,
      typedConfig: packAny(SPIFFE_CERT_VALIDATOR_TYPE_URL, config),
    },
  };
}

function plainContext(bundle: TrustBundle): CertificateValidationContextInit {
  const revocations = revocationsPem(bundle);
  return { trustedCa: inline(rootsPem(bundle)), ...(revocations === '' ? {} : { crl: inline(revocations) }) };
}

function rootsPem(bundle: TrustBundle): string {
  return bundle.x509Authorities.map((der) => pemEncode('CERTIFICATE', der)).join('');
}

/** Envoy's SPIFFE validator takes them beside the roots, and then wants one for each CA of a chain. */
function revocationsPem(bundle: TrustBundle): string {
  return (bundle.revocationLists ?? []).map((der) => pemEncode('X509 CRL', der)).join('');
}

function inline(text: string): DataSourceInit {
  return { inlineBytes: Buffer.from(text) };
}
