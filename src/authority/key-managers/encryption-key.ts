import { SvidgateError } from '../../core/index.ts';
import { nameOfSource, readSecret, type SecretSource } from './secret-source.ts';

/** Of AES-256. */
const KEY_BYTES = 32;

/**
 * The key that private keys are encrypted with at rest: 32 random bytes as base64 or hexadecimal. A passphrase is not
 * stretched but refused, since a copied file would give it away to guessing. Throws `config_invalid` or `file_unreadable`,
 * with nothing of the key in them.
 */
export async function readEncryptionKey(source: SecretSource): Promise<Uint8Array> {
  const text = await readSecret(source);
  const key = /^[0-9a-fA-F]{64}$/.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  const isEncoded = key.toString('hex') === text.toLowerCase() || key.toString('base64') === text;
  if (key.length === KEY_BYTES && isEncoded && !isGuessable(key)) return key;
  throw new SvidgateError(
    'config_invalid',
    `${nameOfSource(source)} is no encryption key: expected ${KEY_BYTES} random bytes as base64 or hexadecimal ` +
      `(openssl rand -base64 ${KEY_BYTES})`,
  );
}

/** Text in disguise, or one byte over and over: of 10^13 random keys not one looks so. */
function isGuessable(key: Buffer): boolean {
  return key.every((byte) => byte >= 0x20 && byte < 0x7f) || key.every((byte) => byte === key[0]);
}
