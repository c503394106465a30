import type { KeyObject } from 'node:crypto';
import { SvidgateError } from '../../core/index.ts';
import { privateKeyToPkcs8 } from '../../pki/index.ts';
import type { KeyManager } from '../key-manager.ts';
import { assertKeyId } from './key-id.ts';
import { generatePrivateKey, importSigningKey, localSigningKey } from './local-key.ts';

/** Keys in this process, gone when it ends. For tests, and where each start may begin with a new CA. */
export function createMemoryKeyManager(): KeyManager {
  const kept = new Map<string, KeyObject>();
  let isOpen = true;
  const keys = (id?: string): Map<string, KeyObject> => {
    if (id !== undefined) assertKeyId(id);
    if (!isOpen) throw new SvidgateError('key_manager_failed', 'the key manager is closed');
    return kept;
  };
  return {
    isPersistent: false,
    async generate(id, type) {
      keys(id);
      const privateKey = await generatePrivateKey(type);
      keys().set(id, privateKey);
      return localSigningKey(id, privateKey);
    },
    async find(id) {
      const privateKey = keys(id).get(id);
      return privateKey === undefined ? undefined : localSigningKey(id, privateKey);
    },
    async list() {
      return [...keys().keys()];
    },
    async remove(id) {
      keys(id).delete(id);
    },
    exports: {
      async exportKey(id) {
        const privateKey = keys(id).get(id);
        if (privateKey === undefined) throw new SvidgateError('key_manager_failed', `there is no key ${id}`);
        return privateKeyToPkcs8(privateKey);
      },
      async importKey(id, pkcs8) {
        keys(id);
        const [key, privateKey] = await importSigningKey(id, pkcs8);
        keys().set(id, privateKey);
        return key;
      },
    },
    async close() {
      isOpen = false;
      kept.clear();
    },
  };
}
