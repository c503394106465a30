import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { SvidgateError } from '../../core/index.ts';
import { findKeyType, isSignatureOf, KEY_ALGORITHMS } from '../../pki/index.ts';
import type { KeyManager, SigningKey } from '../key-manager.ts';
import { ecdsaSignatureToDer } from './ecdsa-signature.ts';
import { assertKeyId, isKeyId } from './key-id.ts';
import { Pkcs11Process, type Pkcs11ProcessOptions } from './pkcs11-process.ts';
import type { TokenKey } from './pkcs11-token.ts';
import { createQueue } from './queue.ts';

export interface Pkcs11KeyManagerOptions extends Pkcs11ProcessOptions {
  /** Keys have the label `PREFIX/ID`; others are neither seen nor touched. One for each trust domain in the token. */
  readonly keyLabelPrefix: string;
}

/**
 * Keys in a hardware security module, or whatever else has a PKCS #11 interface: made there, not extractable. Opens the
 * token at once. Signatures are made one after the other, and checked before they are given away. Throws
 * `key_manager_failed`.
 */
export async function createPkcs11KeyManager(options: Pkcs11KeyManagerOptions): Promise<KeyManager> {
  const token = new Pkcs11Process(options);
  await token.open();
  const changes = createQueue();
  const prefix = `${options.keyLabelPrefix}/`;
  const labelOf = (id: string): string => {
    assertKeyId(id);
    return `${prefix}${id}`;
  };
  return {
    isPersistent: true,
    async generate(id, type) {
      const label = labelOf(id);
      return await changes(async () => {
        const key = signingKey(token, { id, label }, await token.call({ call: 'generate', label, type }));
        // Shows before anyone relies on it that the halves belong together and that signing is permitted.
        await key.sign(Buffer.from(id));
        return key;
      });
    },
    async find(id) {
      const found = await token.call({ call: 'find', label: labelOf(id) });
      return found === undefined ? undefined : signingKey(token, { id, label: labelOf(id) }, found);
    },
    async list() {
      const labels = await token.call({ call: 'list', labelPrefix: prefix });
      return labels.map((label) => label.slice(prefix.length)).filter(isKeyId);
    },
    async remove(id) {
      const label = labelOf(id);
      await changes(async () => await token.call({ call: 'remove', label }));
    },
    close: async () => await token.close(),
  };
}

function signingKey(token: Pkcs11Process, { id, label }: { id: string; label: string }, found: TokenKey): SigningKey {
  const publicKey = publicKeyOf(found);
  const type = publicKey === undefined ? undefined : findKeyType(publicKey);
  if (publicKey === undefined || type === undefined) {
    throw new SvidgateError(
      'key_manager_failed',
      `key ${label} of the PKCS #11 token is of a type that is not supported`,
    );
  }
  const { family, hash } = KEY_ALGORITHMS[type];
  const { tokenId } = found;
  return {
    id,
    type,
    publicKey,
    async sign(data) {
      const digest = createHash(hash).update(data).digest();
      const raw =
        family === 'ec'
          ? await token.call({ call: 'sign', label, tokenId, mechanism: 'ecdsa', data: digest })
          : await token.call({ call: 'sign', label, tokenId, mechanism: 'rsa-pkcs1', data: digestInfo(digest) });
      if (raw === undefined) {
        throw new SvidgateError('key_manager_failed', `key ${label} is not in the PKCS #11 token any more`);
      }
      const signature = family === 'ec' ? ecdsaSignatureToDer(raw) : raw;
      // A faulty RSA signature gives the private key away to whoever sees it, and a wrong one is no use to anybody.
      if (isSignatureOf({ type, publicKey }, data, signature)) return signature;
      throw new SvidgateError('key_manager_failed', `the PKCS #11 token signs wrongly with key ${label}`);
    },
  };
}

/** DigestInfo of RFC 8017 §9.2 for SHA-256. */
function digestInfo(sha256: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), sha256]);
}

/** Undefined when it is none that we know. Node checks that a point is on its curve. */
function publicKeyOf({ ecPoint, modulus, publicExponent }: TokenKey): KeyObject | undefined {
  const encode = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
  try {
    if (modulus !== undefined && publicExponent !== undefined) {
      const key = { kty: 'RSA', n: encode(modulus), e: encode(publicExponent) };
      return createPublicKey({ format: 'jwk', key });
    }
    const point = uncompressedPoint(ecPoint);
    if (point === undefined) return undefined;
    const [x, y] = [point.subarray(0, point.length / 2), point.subarray(point.length / 2)];
    const crv = point.length === 64 ? 'P-256' : 'P-384';
    return createPublicKey({ format: 'jwk', key: { kty: 'EC', crv, x: encode(x), y: encode(y) } });
  } catch {
    return undefined;
  }
}

const UNCOMPRESSED = 0x04;

/** Both coordinates. CKA_EC_POINT is a point in a DER OCTET STRING; some tokens leave that away, so the length tells. */
function uncompressedPoint(value: Uint8Array | undefined): Uint8Array | undefined {
  for (const coordinates of [64, 96]) {
    const point = value?.length === coordinates + 3 ? value.subarray(2) : value;
    if (point?.length === coordinates + 1 && point[0] === UNCOMPRESSED) return point.subarray(1);
  }
  return undefined;
}
