import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { SvidgateError } from '../../core/index.ts';
import { findKeyType, isSignatureOf, KEY_ALGORITHMS } from '../../pki/index.ts';
import type { KeyManager, KeyType, SigningKey } from '../key-manager.ts';
import type { VaultClient, VaultRequest } from '../vault-client.ts';
import type { Json } from '../vault-connection.ts';
import { encodePath } from '../vault-login.ts';
import { assertKeyId, isKeyId } from './key-id.ts';

export interface VaultTransitOptions {
  /** Closed with the key manager. */
  readonly client: VaultClient;
  /** Where the transit engine is mounted. */
  readonly mount: string;
  /** Names of our keys start with this and a dot. 1 to 64 letters, digits, `-` and `_`, the first none of `-`. */
  readonly keyPrefix: string;
}

/** The types' names in transit, and of the hashes that it signs. */
const TRANSIT_TYPES = {
  'ec-p256': { type: 'ecdsa-p256', hash: 'sha2-256' },
  'ec-p384': { type: 'ecdsa-p384', hash: 'sha2-384' },
  'rsa-2048': { type: 'rsa-2048', hash: 'sha2-256' },
  'rsa-4096': { type: 'rsa-4096', hash: 'sha2-256' },
} as const satisfies Record<KeyType, { readonly type: string; readonly hash: string }>;

/** Ours stay at the version that they were made with: rotating one by hand changes nothing. */
const KEY_VERSION = 1;

/** Making an RSA key of 4096 bits takes seconds, and much longer on a busy server. */
const GENERATE_TIMEOUT_MS = 60_000;

/**
 * Keys in the transit engine of Vault or OpenBao: made there, never exportable, and signing only hashes, so that neither
 * key nor certificate leaves its place. One request for each signature. Throws `config_invalid` for a mount or a prefix that
 * cannot be.
 */
export function createVaultTransitKeyManager(options: VaultTransitOptions): KeyManager {
  if (!/^\w[\w-]{0,63}$/.test(options.keyPrefix)) {
    throw new SvidgateError('config_invalid', 'key_prefix has 1 to 64 letters, digits, "-" or "_", the first no "-"');
  }
  const transit = new Transit(options);
  return {
    isPersistent: true,
    generate: (id, type) => transit.oneAtATime(id, () => transit.generate(id, type)),
    find: async (id) => await transit.find(id),
    list: async () => await transit.list(),
    remove: (id) => transit.oneAtATime(id, () => transit.remove(id)),
    close: async () => await options.client.close(),
  };
}

class Transit {
  readonly #client: VaultClient;
  readonly #mount: string;
  readonly #prefix: string;
  readonly #last = new Map<string, Promise<unknown>>();

  constructor({ client, mount, keyPrefix }: VaultTransitOptions) {
    this.#client = client;
    this.#mount = encodePath(mount);
    this.#prefix = `${keyPrefix}.`;
  }

  /** Making a key is several requests; two of one id must not mix. */
  async oneAtATime<T>(id: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.#last.get(id) ?? Promise.resolve()).then(work, work);
    this.#last.set(id, mine);
    try {
      return await mine;
    } finally {
      if (this.#last.get(id) === mine) this.#last.delete(id);
    }
  }

  async generate(id: string, type: KeyType): Promise<SigningKey> {
    await this.remove(id);
    const body = { type: TRANSIT_TYPES[type].type, exportable: false, allow_plaintext_backup: false };
    await this.#send({ method: 'POST', path: `keys/${this.#nameOf(id)}`, body, timeoutMs: GENERATE_TIMEOUT_MS });
    const key = await this.find(id);
    if (key?.type !== type) throw failed(`key ${id} is not what was asked for: somebody else works with the same keys`);
    return key;
  }

  async find(id: string): Promise<SigningKey | undefined> {
    const name = this.#nameOf(id);
    const data = await this.#send({ method: 'GET', path: `keys/${name}` });
    if (data === undefined) return undefined;
    const publicKey = publicKeyOf(id, data);
    const type = findKeyType(publicKey);
    if (type === undefined) throw failed(`key ${id} is of a type that is not supported`);
    return { id, type, publicKey, sign: async (bytes) => await this.#sign({ id, type, publicKey }, bytes) };
  }

  async list(): Promise<readonly string[]> {
    const data = await this.#send({ method: 'LIST', path: 'keys' });
    const names: unknown = data?.['keys'] ?? [];
    if (!Array.isArray(names)) throw failed('the list of keys is none');
    return names.flatMap((name) => this.#idOf(name) ?? []);
  }

  async remove(id: string): Promise<void> {
    const path = `keys/${this.#nameOf(id)}`;
    if ((await this.#send({ method: 'GET', path })) === undefined) return;
    // Until this moment nobody can delete it by mistake.
    await this.#send({ method: 'POST', path: `${path}/config`, body: { deletion_allowed: true } });
    await this.#send({ method: 'DELETE', path });
  }

  async #sign(key: Pick<SigningKey, 'id' | 'type' | 'publicKey'>, data: Uint8Array): Promise<Uint8Array> {
    const { family, hash: hashName } = KEY_ALGORITHMS[key.type];
    const body = {
      input: hash(hashName, data, 'base64'),
      prehashed: true,
      key_version: KEY_VERSION,
      ...(family === 'ec' ? { marshaling_algorithm: 'asn1' } : { signature_algorithm: 'pkcs1v15' }),
    };
    const path = `sign/${this.#nameOf(key.id)}/${TRANSIT_TYPES[key.type].hash}`;
    const answer = await this.#send({ method: 'POST', path, body });
    const text: unknown = answer?.['signature'];
    const encoded = typeof text === 'string' ? /^vault:v1:([A-Za-z0-9+/]+=*)$/.exec(text)?.[1] : undefined;
    const signature = Buffer.from(encoded ?? '', 'base64');
    // A key that was replaced behind our back would sign certificates that nobody can verify.
    if (!isSignatureOf(key, data, signature)) {
      throw failed(`what was signed is not by key ${key.id} as we know it: it was replaced, or is gone`);
    }
    return signature;
  }

  /** A name there must end with a letter, a digit or `_`; ids may end with a dash, but have no dots. */
  #nameOf(id: string): string {
    assertKeyId(id);
    return `${this.#prefix}${id}${id.endsWith('-') ? '.0' : ''}`;
  }

  #idOf(name: unknown): string | undefined {
    if (typeof name !== 'string' || !name.startsWith(this.#prefix)) return undefined;
    const id = name.slice(this.#prefix.length).replace(/(?<=-)\.0$/, '');
    return isKeyId(id) ? id : undefined;
  }

  async #send(request: Omit<VaultRequest, 'failsAs'>): Promise<Json | undefined> {
    const path = `${this.#mount}/${request.path}`;
    return await this.#client.send({ ...request, path, failsAs: 'key_manager_failed' });
  }
}

function publicKeyOf(id: string, { keys }: Json): KeyObject {
  const versions = typeof keys === 'object' && keys !== null ? (keys as Readonly<Record<string, unknown>>) : {};
  const version = versions[KEY_VERSION];
  const pem =
    typeof version === 'object' && version !== null && 'public_key' in version ? version.public_key : undefined;
  if (typeof pem !== 'string') throw failed(`version ${KEY_VERSION} of key ${id} is gone, or it is no key that signs`);
  try {
    return createPublicKey(pem);
  } catch (cause) {
    throw failed(`the public half of key ${id} cannot be read`, cause);
  }
}

function failed(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('key_manager_failed', message, { cause });
}
