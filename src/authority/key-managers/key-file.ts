import { createCipheriv, createDecipheriv, createPrivateKey, randomBytes, type KeyObject } from 'node:crypto';
import { privateKeyToPkcs8 } from '../../pki/index.ts';

/** How private keys stand on disk. */
export type KeyEncryption =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'key';
      /** 32 bytes; see readEncryptionKey. */
      readonly key: Uint8Array;
    };

/** What stands in a key file, in JSON; the binary members are base64. A plain file is PKCS#8 in PEM instead. */
interface EncryptedKey {
  readonly format: 1;
  readonly cipher: 'aes-256-gcm';
  readonly iv: string;
  readonly tag: string;
  /** PKCS#8 in DER. */
  readonly encrypted_key: string;
}

const CIPHER = 'aes-256-gcm';
/** A random one for each write: with the few thousand writes of a CA's life, none comes twice (NIST SP 800-38D §8.3). */
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Whether the file is one that was written without encryption. */
export function isPlainKeyFile(text: string): boolean {
  return text.startsWith('-----BEGIN PRIVATE KEY-----');
}

/** The content of the file of a key. */
export function formatKeyFile(id: string, privateKey: KeyObject, encryption: KeyEncryption): string {
  if (encryption.kind === 'none') return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(CIPHER, encryption.key, iv, { authTagLength: TAG_BYTES }).setAAD(boundTo(id));
  const encrypted = Buffer.concat([cipher.update(privateKeyToPkcs8(privateKey)), cipher.final()]);
  const file: EncryptedKey = {
    format: 1,
    cipher: CIPHER,
    iv: iv.toString('base64'),
    tag: cipher.getAuthTag().toString('base64'),
    encrypted_key: encrypted.toString('base64'),
  };
  return `${JSON.stringify(file)}\n`;
}

/**
 * The inverse; plain files are read whatever the encryption. Throws an Error that says what is wrong, with nothing of the
 * file in it.
 */
export function parseKeyFile(id: string, text: string, encryption: KeyEncryption): KeyObject {
  if (isPlainKeyFile(text)) return parsePlain(text);
  const { iv, tag, data } = parseEncrypted(text);
  if (encryption.kind === 'none') throw new Error('it is encrypted, and no encryption key is configured');
  try {
    const decipher = createDecipheriv(CIPHER, encryption.key, iv, { authTagLength: TAG_BYTES })
      .setAAD(boundTo(id))
      .setAuthTag(tag);
    const der = Buffer.concat([decipher.update(data), decipher.final()]);
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } catch {
    throw new Error('it was encrypted with another key, or for another key id, or was changed since');
  }
}

function parsePlain(text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    throw new Error('it is not PKCS#8 in PEM');
  }
}

function parseEncrypted(text: string): { iv: Buffer; tag: Buffer; data: Buffer } {
  try {
    const file = JSON.parse(text) as Partial<EncryptedKey> | null;
    const [iv, tag, data] = [file?.iv, file?.tag, file?.encrypted_key].map((value) =>
      Buffer.from(typeof value === 'string' ? value : '', 'base64'),
    );
    if (file?.format === 1 && file.cipher === CIPHER && iv?.length === IV_BYTES && tag?.length === TAG_BYTES && data) {
      return { iv, tag, data };
    }
  } catch {
    // JSON.parse quotes what it read.
  }
  throw new Error('it is no key file of this version');
}

/** Authenticated with the key, so that the file of one key is never taken for that of another. */
function boundTo(id: string): Buffer {
  return Buffer.from(`svidgate key file, format 1, key id ${id}`);
}
