import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createVaultTransitKeyManager } from '../../src/authority/key-managers/vault-transit.ts';
import type { KeyManager } from '../../src/authority/index.ts';
import { createVaultClient } from '../../src/authority/vault-client.ts';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { keyManagerContract } from '../support/key-manager-contract.ts';
import { startOpenBao, type OpenBao } from '../support/open-bao.ts';

describe('Vault transit', () => {
  let bao: OpenBao;
  let mounts = 0;
  before(async () => (bao = await startOpenBao()));
  after(async () => await bao[Symbol.asyncDispose]());

  const newMount = async (): Promise<string> => {
    const mount = `team/transit-${(mounts += 1)}`;
    await bao.call('POST', `sys/mounts/${mount}`, { type: 'transit' });
    return mount;
  };

  const open = (mount: string, keyPrefix = 'svidgate'): KeyManager => {
    process.env['SVIDGATE_TEST_VAULT_TOKEN'] = bao.rootToken;
    const auth = { kind: 'token_env', variable: 'SVIDGATE_TEST_VAULT_TOKEN' } as const;
    const client = createVaultClient({ address: bao.address, auth, logger: silentLogger, clock: systemClock });
    return createVaultTransitKeyManager({ client, mount, keyPrefix });
  };

  keyManagerContract('Vault transit', async () => {
    const mount = await newMount();
    let keys = open(mount);
    let isStopped = false;
    return {
      keys,
      async reopen() {
        await keys.close();
        keys = open(mount);
        return keys;
      },
      async breakBackEnd() {
        isStopped = true;
        await bao.stop();
      },
      async [Symbol.asyncDispose]() {
        await keys.close();
        if (isStopped) await bao.start();
      },
    };
  });

  it('takes a mount that is not there for a failure, not for one without keys', async () => {
    const keys = open('nowhere');
    try {
      const expected = { code: 'key_manager_failed', message: /refuses GET nowhere\/keys\/svidgate\.one with 404$/ };
      await assert.rejects(keys.find('one'), expected);
      await assert.rejects(keys.list(), { code: 'key_manager_failed' });
    } finally {
      await keys.close();
    }
  });

  it('sees only keys of its own prefix, also where one prefix begins with the other', async () => {
    const mount = await newMount();
    const [one, other] = [open(mount, 'svidgate'), open(mount, 'svidgate-b')];
    try {
      await one.generate('a', 'ec-p256');
      await other.generate('b', 'ec-p256');
      await bao.call('POST', `${mount}/keys/svidgate`, { type: 'ecdsa-p256' });
      await bao.call('POST', `${mount}/keys/foreign.x`, { type: 'aes256-gcm96' });
      assert.deepEqual(await one.list(), ['a']);
      assert.deepEqual(await other.list(), ['b']);
      await one.remove('b');
      assert.deepEqual(await other.list(), ['b']);
    } finally {
      await one.close();
      await other.close();
    }
  });

  it('makes keys that cannot be taken out, and nobody but it deletes', async () => {
    const mount = await newMount();
    const keys = open(mount);
    try {
      await keys.generate('a', 'ec-p256');
      const key = await bao.call('GET', `${mount}/keys/svidgate.a`);
      assert.equal(key['exportable'], false);
      assert.equal(key['allow_plaintext_backup'], false);
      await assert.rejects(bao.call('GET', `${mount}/export/signing-key/svidgate.a`), /not exportable/);
      await assert.rejects(bao.call('DELETE', `${mount}/keys/svidgate.a`), /deletion is not allowed/);
    } finally {
      await keys.close();
    }
  });

  it('goes on with the same key when somebody rotates it', async () => {
    const mount = await newMount();
    const keys = open(mount);
    try {
      const key = await keys.generate('a', 'ec-p256');
      await bao.call('POST', `${mount}/keys/svidgate.a/rotate`, {});
      await key.sign(Buffer.from('data'));
      const found = await keys.find('a');
      assert.ok(found?.publicKey.equals(key.publicKey));
      await bao.call('POST', `${mount}/keys/svidgate.a/config`, { min_encryption_version: 2 });
      await assert.rejects(key.sign(Buffer.from('data')), { code: 'key_manager_failed' });
    } finally {
      await keys.close();
    }
  });

  it('never gives a signature by another key of the same name', async () => {
    const mount = await newMount();
    const keys = open(mount);
    try {
      const key = await keys.generate('a', 'ec-p256');
      await keys.generate('a', 'ec-p256');
      await assert.rejects(key.sign(Buffer.from('data')), {
        code: 'key_manager_failed',
        message: 'what was signed is not by key a as we know it: it was replaced, or is gone',
      });
    } finally {
      await keys.close();
    }
  });

  it('says which key is none of ours', async () => {
    const mount = await newMount();
    const keys = open(mount);
    try {
      await bao.call('POST', `${mount}/keys/svidgate.a`, { type: 'aes256-gcm96' });
      await bao.call('POST', `${mount}/keys/svidgate.b`, { type: 'ed25519' });
      const gone = 'version 1 of key a is gone, or it is no key that signs';
      await assert.rejects(keys.find('a'), { code: 'key_manager_failed', message: gone });
      await assert.rejects(keys.find('b'), { code: 'key_manager_failed', message: /key b/ });
    } finally {
      await keys.close();
    }
  });

  it('needs no more rights than the documented policy has', async () => {
    const mount = await newMount();
    await bao.call('POST', 'sys/policies/acl/transit-only', { policy: transitPolicy(mount) });
    const { client_token: token } = await bao.call('POST', 'auth/token/create', { policies: ['transit-only'] });
    process.env['SVIDGATE_TEST_SMALL_TOKEN'] = String(token);
    const auth = { kind: 'token_env', variable: 'SVIDGATE_TEST_SMALL_TOKEN' } as const;
    const client = createVaultClient({ address: bao.address, auth, logger: silentLogger, clock: systemClock });
    const keys = createVaultTransitKeyManager({ client, mount, keyPrefix: 'svidgate' });
    try {
      const key = await keys.generate('a', 'ec-p256');
      await key.sign(Buffer.from('data'));
      await keys.generate('a', 'ec-p384');
      assert.deepEqual(await keys.list(), ['a']);
      await keys.remove('a');
      assert.deepEqual(await keys.list(), []);
    } finally {
      await keys.close();
    }
  });

  for (const keyPrefix of ['', '-a', 'a.b', 'a/b', 'x'.repeat(65)]) {
    it(`refuses the prefix ${JSON.stringify(keyPrefix)}`, () => {
      assert.throws(() => open('transit', keyPrefix), { code: 'config_invalid' });
    });
  }
});

function transitPolicy(mount: string): string {
  return `
    path "${mount}/keys"            { capabilities = ["list"] }
    path "${mount}/keys/svidgate.*" { capabilities = ["create", "read", "update", "delete"] }
    path "${mount}/sign/svidgate.*" { capabilities = ["create", "update"] }
  `;
}
