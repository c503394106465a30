import { SvidgateError } from '../core/index.ts';
import { toGenericSecret, toTlsCertificate, toValidationContext } from './file-content.ts';
import type { FileSecretOptions } from './file-secret.ts';
import type { FilePlace } from './read-beneath.ts';
import type { SecretContent } from './secret-store.ts';

const NOTHING = new Uint8Array();
const MIN_SEED_BYTES = 32;

export function genericFile(file: FilePlace): FileSecretOptions<SecretContent> {
  return {
    files: [{ ...file, isPrivate: true }],
    parse: ([bytes = NOTHING]) => toGenericSecret(bytes),
  };
}

export function certificateFiles(certificate: FilePlace, privateKey: FilePlace): FileSecretOptions<SecretContent> {
  return {
    files: [
      { ...certificate, isPrivate: false },
      { ...privateKey, isPrivate: true },
    ],
    parse: ([chain = NOTHING, key = NOTHING]) => toTlsCertificate(chain, key),
    endOf: (content) => (content.kind === 'tls_certificate' ? content.notAfter : undefined),
  };
}

export function caFile(ca: FilePlace): FileSecretOptions<SecretContent> {
  return {
    files: [{ ...ca, isPrivate: false }],
    parse: ([bytes = NOTHING]) => toValidationContext(bytes),
  };
}

/** The bytes as they are. */
export function seedFile(seed: FilePlace): FileSecretOptions<Uint8Array> {
  return {
    files: [{ ...seed, isPrivate: true }],
    parse: ([bytes = NOTHING]) => {
      if (bytes.length >= MIN_SEED_BYTES) return bytes;
      throw new SvidgateError('config_invalid', `a seed has at least ${MIN_SEED_BYTES} bytes`);
    },
  };
}
