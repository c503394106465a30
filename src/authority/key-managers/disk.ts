import { constants } from 'node:fs';
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeyObject } from 'node:crypto';
import { describeError, SvidgateError, writeFileAtomic, type Logger } from '../../core/index.ts';
import { openPrivateFolder } from '../../datastore/index.ts';
import { findKeyType, privateKeyToPkcs8 } from '../../pki/index.ts';
import type { KeyManager, SigningKey } from '../key-manager.ts';
import { assertKeyId, isKeyId } from './key-id.ts';
import { formatKeyFile, isPlainKeyFile, parseKeyFile, type KeyEncryption } from './key-file.ts';
import { generatePrivateKey, importSigningKey, localSigningKey } from './local-key.ts';

export interface DiskKeyManagerOptions {
  /** Absolute path of a folder of its own; made when it is missing, 0700. Nobody else writes there while it is open. */
  readonly directory: string;
  readonly encryption: KeyEncryption;
  readonly logger: Logger;
}

const SUFFIX = '.key';
const MAX_KEY_FILE_BYTES = 64 * 1024;
/** What writeFileAtomic leaves when the process dies in it. */
const LEFTOVER = /^\..*\.key\.[0-9a-f]+\.tmp$/;

/**
 * Keys in files `ID.key`, 0600, each replaced in one step. Reads every file first, so that a wrong encryption key ends the
 * start and not the next rotation, and encrypts those that are plain when a key is configured; later a plain file is
 * refused. Throws `key_manager_failed` with the file's path.
 */
export async function createDiskKeyManager(options: DiskKeyManagerOptions): Promise<KeyManager> {
  const folder = new KeyFolder(options);
  await folder.open();
  return {
    isPersistent: true,
    async generate(id, type) {
      folder.assertUsable(id);
      return await folder.keep(id, await generatePrivateKey(type));
    },
    async find(id) {
      const privateKey = await folder.read(id);
      return privateKey === undefined ? undefined : localSigningKey(id, privateKey);
    },
    list: async () => await folder.ids(),
    remove: async (id) => await folder.remove(id),
    exports: {
      async exportKey(id) {
        const privateKey = await folder.read(id);
        if (privateKey === undefined) throw new SvidgateError('key_manager_failed', `there is no key ${id}`);
        return privateKeyToPkcs8(privateKey);
      },
      async importKey(id, pkcs8) {
        folder.assertUsable(id);
        const [, privateKey] = await importSigningKey(id, pkcs8);
        return await folder.keep(id, privateKey);
      },
    },
    async close() {
      folder.close();
    },
  };
}

class KeyFolder {
  readonly #options: DiskKeyManagerOptions;
  #isOpen = true;

  constructor(options: DiskKeyManagerOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { directory, encryption, logger } = this.#options;
    await this.#attempt(`folder ${directory} cannot be used for keys`, async () => {
      await openPrivateFolder(directory);
      const leftovers = (await readdir(directory)).filter((name) => LEFTOVER.test(name));
      await Promise.all(leftovers.map((name) => rm(join(directory, name), { force: true })));
    });
    let encrypted = 0;
    for (const id of await this.ids()) {
      const text = await this.#text(id);
      if (text === undefined) continue;
      const privateKey = this.#parse(id, text);
      if (encryption.kind === 'none' || !isPlainKeyFile(text)) continue;
      await this.keep(id, privateKey);
      encrypted++;
    }
    if (encryption.kind === 'none') logger.warn({ file: directory }, 'private keys are stored without encryption');
    else if (encrypted > 0) logger.warn({ file: directory, count: encrypted }, 'plain private keys are now encrypted');
  }

  close(): void {
    this.#isOpen = false;
  }

  /** Throws `invalid_request` or, when it is closed, `key_manager_failed`. */
  assertUsable(id?: string): void {
    if (id !== undefined) assertKeyId(id);
    if (!this.#isOpen) throw new SvidgateError('key_manager_failed', 'the key manager is closed');
  }

  async keep(id: string, privateKey: KeyObject): Promise<SigningKey> {
    this.assertUsable(id);
    const path = this.#path(id);
    const key = localSigningKey(id, privateKey);
    await this.#attempt(`key file ${path} cannot be written`, async () => {
      await writeFileAtomic(path, formatKeyFile(id, privateKey, this.#options.encryption), 0o600);
    });
    return key;
  }

  async read(id: string): Promise<KeyObject | undefined> {
    this.assertUsable(id);
    const text = await this.#text(id);
    if (text === undefined) return undefined;
    // Since it was opened every file is encrypted: a plain one was put there by others.
    if (this.#options.encryption.kind === 'key' && isPlainKeyFile(text))
      throw this.#unusable(id, 'it is not encrypted');
    return this.#parse(id, text);
  }

  async ids(): Promise<readonly string[]> {
    this.assertUsable();
    const { directory } = this.#options;
    const names = await this.#attempt(`folder ${directory} cannot be read`, async () => await readdir(directory));
    return names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .filter(isKeyId);
  }

  async remove(id: string): Promise<void> {
    this.assertUsable(id);
    const path = this.#path(id);
    await this.#attempt(`key file ${path} cannot be removed`, async () => {
      await rm(path, { force: true });
      await using folder = await open(this.#options.directory, constants.O_RDONLY | constants.O_DIRECTORY);
      await folder.sync();
    });
  }

  #path(id: string): string {
    return join(this.#options.directory, `${id}${SUFFIX}`);
  }

  async #text(id: string): Promise<string | undefined> {
    const path = this.#path(id);
    return await this.#attempt(`key file ${path} cannot be read`, async () => {
      try {
        await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
        const stat = await file.stat();
        if (!stat.isFile() || stat.size > MAX_KEY_FILE_BYTES) throw new Error('it is no key file');
        return await file.readFile('utf8');
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw error;
      }
    });
  }

  #parse(id: string, text: string): KeyObject {
    try {
      const privateKey = parseKeyFile(id, text, this.#options.encryption);
      if (findKeyType(privateKey) === undefined) throw new Error('its key is of a type that is not supported');
      return privateKey;
    } catch (error) {
      throw this.#unusable(id, describeError(error));
    }
  }

  #unusable(id: string, reason: string): SvidgateError {
    return new SvidgateError('key_manager_failed', `key file ${this.#path(id)} cannot be used: ${reason}`);
  }

  async #attempt<T>(failure: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      throw new SvidgateError('key_manager_failed', failure, { cause });
    }
  }
}
