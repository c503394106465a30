import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { verify } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import type { KeyManager, KeyType, SigningKey } from '../../src/authority/index.ts';
import { tempFolder } from './temp-folder.ts';

const run = promisify(execFile);

/** One key manager over a back end of its own, empty at first. Disposing closes it and ends the back end. */
export interface OpenedKeyManager extends AsyncDisposable {
  readonly keys: KeyManager;
  /** Closes `keys` and opens the same back end again, as after a restart. Where keys do not survive that, absent. */
  readonly reopen?: () => Promise<KeyManager>;
  /** Puts the back end out of reach; afterwards each function fails. Without it, `keys` is closed instead. */
  readonly breakBackEnd?: () => Promise<void>;
}

export interface ContractOptions {
  /** What it offers; default all. */
  readonly types?: readonly KeyType[];
  /** Reason why none of it can run here. */
  readonly skip?: string | false;
}

const HASHES: Readonly<Record<KeyType, string>> = {
  'ec-p256': 'sha256',
  'ec-p384': 'sha384',
  'rsa-2048': 'sha256',
  'rsa-4096': 'sha256',
};
const ALL_TYPES = Object.keys(HASHES) as readonly KeyType[];
const DATA = Buffer.from('what is to be signed');

/** What every implementation of KeyManager keeps to. */
export function keyManagerContract(
  name: string,
  open: () => Promise<OpenedKeyManager>,
  { types = ALL_TYPES, skip = false }: ContractOptions = {},
): void {
  describe(`${name} as a key manager`, { skip }, () => {
    for (const type of types) {
      it(`signs with ${type} so that node:crypto and openssl verify it`, async () => {
        await using opened = await open();
        const key = await opened.keys.generate('key', type);
        assert.equal(key.id, 'key');
        assert.equal(key.type, type);
        await assertSigns(key);
        await assertOpensslVerifies(key);
      });
    }

    it('signs nothing at all, and much', async () => {
      await using opened = await open();
      const key = await opened.keys.generate('key', 'ec-p256');
      for (const length of [0, 1, 100_000]) await assertSigns(key, Buffer.alloc(length, 7));
    });

    it('finds and lists what it keeps, and no more once it is removed', async () => {
      await using opened = await open();
      const { keys } = opened;
      assert.deepEqual(await keys.list(), []);
      assert.equal(await keys.find('one'), undefined);
      const one = await keys.generate('one', 'ec-p256');
      await keys.generate('two', 'ec-p384');
      assert.deepEqual([...(await keys.list())].sort(), ['one', 'two']);
      await assertSameKey(await keys.find('one'), one);
      await keys.remove('one');
      assert.equal(await keys.find('one'), undefined);
      assert.deepEqual(await keys.list(), ['two']);
      await keys.remove('one');
      await keys.remove('never-there');
      assert.deepEqual(await keys.list(), ['two']);
    });

    it('replaces a key that exists, also by one of another type', async () => {
      await using opened = await open();
      const { keys } = opened;
      const old = await keys.generate('key', 'ec-p256');
      const next = await keys.generate('key', 'ec-p384');
      assert.notDeepEqual(exported(old), exported(next));
      await assertSameKey(await keys.find('key'), next);
      assert.deepEqual(await keys.list(), ['key']);
      await assertOwnSignatureOrFailure(old);
      await keys.generate('key', 'ec-p384');
      await assertOwnSignatureOrFailure(next);
      await keys.remove('key');
      assert.equal(await keys.find('key'), undefined);
    });

    it('takes ids of 1 to 64 letters, digits, "-" and "_", each its own', async () => {
      await using opened = await open();
      const ids = ['a', 'A-1', '_', '-', 'x'.repeat(64), `${'x'.repeat(63)}y`, 'xx'];
      for (const id of ids) await opened.keys.generate(id, 'ec-p256');
      assert.deepEqual([...(await opened.keys.list())].sort(), [...ids].sort());
      for (const id of ids) assert.equal((await opened.keys.find(id))?.id, id);
    });

    it('refuses every other id, and does nothing', async () => {
      await using opened = await open();
      const { keys } = opened;
      await keys.generate('kept', 'ec-p256');
      const ids = ['', 'x'.repeat(65), '.', '..', 'a/b', '../kept', 'a.b', 'a b', 'a\n', 'a\0', 'ä', '%61', 'a*', '𝟙'];
      for (const id of ids) {
        const refusal = { code: 'invalid_request' };
        await assert.rejects(keys.generate(id, 'ec-p256'), refusal, `generate ${JSON.stringify(id)}`);
        await assert.rejects(keys.find(id), refusal, `find ${JSON.stringify(id)}`);
        await assert.rejects(keys.remove(id), refusal, `remove ${JSON.stringify(id)}`);
        if (keys.exports === undefined) continue;
        await assert.rejects(keys.exports.exportKey(id), refusal, `export ${JSON.stringify(id)}`);
        await assert.rejects(keys.exports.importKey(id, new Uint8Array()), refusal, `import ${JSON.stringify(id)}`);
      }
      assert.deepEqual(await keys.list(), ['kept']);
    });

    it('makes keys and signs at once from many sides', async () => {
      await using opened = await open();
      const { keys } = opened;
      const ids = Array.from({ length: 8 }, (_, index) => `key-${index}`);
      const made = await Promise.all(ids.map((id) => keys.generate(id, 'ec-p256')));
      assert.equal(new Set(made.map((key) => exported(key).toString('hex'))).size, ids.length);
      assert.deepEqual([...(await keys.list())].sort(), ids);
      await Promise.all(
        Array.from({ length: 40 }, (_, index) => assertSigns(made[index % made.length]!, Buffer.from([index]))),
      );
    });

    it('keeps one whole key when one id is made many times at once', async () => {
      await using opened = await open();
      const { keys } = opened;
      const made = await Promise.all(Array.from({ length: 4 }, () => keys.generate('key', 'ec-p256')));
      assert.deepEqual(await keys.list(), ['key']);
      const kept = await keys.find('key');
      assert.ok(kept !== undefined && made.some((key) => exported(key).equals(exported(kept))));
      await assertSigns(kept);
      for (const key of made) await assertOwnSignatureOrFailure(key);
    });

    it('has its keys again after a restart, where it says that it is persistent', async () => {
      await using opened = await open();
      assert.equal(opened.keys.isPersistent, opened.reopen !== undefined);
      if (opened.reopen === undefined) return;
      const made = await Promise.all(
        (['ec-p256', 'ec-p384', 'rsa-2048'] as const)
          .filter((type) => types.includes(type))
          .map((type) => opened.keys.generate(type, type)),
      );
      await opened.keys.generate('removed', 'ec-p256');
      await opened.keys.remove('removed');
      const keys = await opened.reopen();
      assert.deepEqual([...(await keys.list())].sort(), made.map((key) => key.id).sort());
      for (const key of made) await assertSameKey(await keys.find(key.id), key);
      assert.equal(await keys.find('removed'), undefined);
    });

    it('gives keys away and takes them back, where it offers that', async () => {
      await using opened = await open();
      const { keys } = opened;
      if (keys.exports === undefined) return;
      for (const type of types.filter((type) => type !== 'rsa-4096')) {
        const made = await keys.generate('key', type);
        const pkcs8 = await keys.exports.exportKey('key');
        await keys.generate('key', 'ec-p256');
        await assertSameKey(await keys.exports.importKey('key', pkcs8), made);
        await assertSameKey(await keys.find('key'), made);
      }
      await assert.rejects(keys.exports.exportKey('none'), { code: 'key_manager_failed' });
    });

    it('refuses to take a key that is none, with nothing of it in the error', async () => {
      await using opened = await open();
      const { keys } = opened;
      if (keys.exports === undefined) return;
      await keys.generate('key', 'ec-p256');
      const pkcs8 = Buffer.from(await keys.exports.exportKey('key'));
      await keys.generate('other', 'ec-p256');
      const other = Buffer.from(await keys.exports.exportKey('other'));
      const halfAndHalf = Buffer.concat([other.subarray(0, 68), pkcs8.subarray(68)]);
      for (const bytes of [Buffer.alloc(0), Buffer.from('key'), pkcs8.subarray(0, -1), halfAndHalf]) {
        const error = await failure(keys.exports.importKey('key', bytes));
        assert.equal(error.code, 'invalid_request');
        assertHoldsNothingOf(error, pkcs8);
      }
      assert.deepEqual(Buffer.from(await keys.exports.exportKey('key')), pkcs8);
    });

    it('fails with key_manager_failed when its back end is out of reach, with no key in the error', async () => {
      await using opened = await open();
      const { keys } = opened;
      await keys.generate('key', 'ec-p256');
      const pkcs8 = Buffer.from((await keys.exports?.exportKey('key')) ?? []);
      await (opened.breakBackEnd ?? (() => keys.close()))();
      const attempts: (() => Promise<unknown>)[] = [
        () => keys.generate('key', 'ec-p256'),
        () => keys.generate('other', 'ec-p256'),
        () => keys.find('key'),
        () => keys.list(),
        () => keys.remove('key'),
        ...(keys.exports === undefined ? [] : [() => keys.exports!.exportKey('key')]),
        ...(keys.exports === undefined ? [] : [() => keys.exports!.importKey('other', pkcs8)]),
      ];
      for (const [index, attempt] of attempts.entries()) {
        const error = await failure(attempt());
        assert.equal(error.code, 'key_manager_failed', `attempt ${index}: ${String(error)}`);
        assertHoldsNothingOf(error, pkcs8);
      }
    });

    it('is closed once and for all', async () => {
      await using opened = await open();
      await opened.keys.generate('key', 'ec-p256');
      await opened.keys.close();
      await opened.keys.close();
      await assert.rejects(opened.keys.find('key'), { code: 'key_manager_failed' });
      await assert.rejects(opened.keys.generate('key', 'ec-p256'), { code: 'key_manager_failed' });
    });
  });
}

function exported(key: SigningKey): Buffer {
  return key.publicKey.export({ type: 'spki', format: 'der' });
}

async function assertSigns(key: SigningKey, data: Uint8Array = DATA): Promise<void> {
  const signature = await key.sign(data);
  assert.ok(verify(HASHES[key.type], data, key.publicKey, signature), `${key.id} gives a signature that verifies`);
}

/** The same public key, and it signs for it. */
async function assertSameKey(found: SigningKey | undefined, wanted: SigningKey): Promise<void> {
  assert.ok(found !== undefined, `${wanted.id} is there`);
  assert.equal(found.id, wanted.id);
  assert.equal(found.type, wanted.type);
  assert.deepEqual(exported(found), exported(wanted));
  await assertSigns(found);
}

/** A key that was replaced never signs with the one that took its place. */
async function assertOwnSignatureOrFailure(key: SigningKey): Promise<void> {
  try {
    await assertSigns(key);
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    assert.equal((error as { code?: unknown }).code, 'key_manager_failed');
  }
}

async function assertOpensslVerifies(key: SigningKey): Promise<void> {
  await using folder = await tempFolder();
  const file = (name: string): string => join(folder.path, name);
  await writeFile(file('public.pem'), key.publicKey.export({ type: 'spki', format: 'pem' }));
  await writeFile(file('data'), DATA);
  await writeFile(file('signature'), await key.sign(DATA));
  const hash = `-${HASHES[key.type]}`;
  const args = ['dgst', hash, '-verify', file('public.pem'), '-signature', file('signature'), file('data')];
  const { stdout } = await run('openssl', args);
  assert.equal(stdout.trim(), 'Verified OK');
}

async function failure(work: Promise<unknown>): Promise<Error & { readonly code?: unknown }> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  throw new assert.AssertionError({ message: 'it was expected to fail' });
}

/** Neither message, stack nor cause holds a piece of the key, in any usual encoding. */
function assertHoldsNothingOf(error: Error, pkcs8: Buffer): void {
  const text = [error, error.cause].map((part) =>
    part instanceof Error ? `${part.message}${part.stack}` : String(part),
  );
  assert.doesNotMatch(text.join('\n'), /PRIVATE KEY/);
  // The private number of a P-256 key stands in bytes 36 to 67.
  const secret = pkcs8.subarray(36, 68);
  if (secret.length === 0) return;
  for (const encoding of ['hex', 'base64', 'latin1'] as const) {
    assert.ok(!text.join('\n').includes(secret.toString(encoding)), `no key as ${encoding}`);
  }
}
