import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createJournal } from '../../../src/authority/journal.ts';
import { createAuthorityStage } from '../../support/authority-stage.ts';
import { TRUST_DOMAIN } from '../../support/svid-fixtures.ts';

/** A journal with one of everything. */
async function filled(): Promise<{ readonly text: string; readonly stage: ReturnType<typeof createAuthorityStage> }> {
  const stage = createAuthorityStage();
  const authority = await stage.open();
  await authority.prepare('x509');
  await authority.prepare('jwt');
  return { text: stage.stores.texts.get('authority')!, stage };
}

test('a journal gives back what was saved, and holds nothing of a private key', async () => {
  const { text, stage } = await filled();
  const journal = createJournal(stage.stores.documents, TRUST_DOMAIN);
  const state = await journal.load();
  assert.equal(state.slots.length, 4);
  await journal.save(state);
  assert.equal(stage.stores.texts.get('authority'), text);
  assert.deepEqual(await journal.load(), state);
  for (const id of await stage.keyManager.list()) {
    const key = Buffer.from(await stage.keyManager.exports!.exportKey(id));
    assert.ok(!text.includes(key.toString('base64').slice(40, 80)));
  }
});

const damages: readonly { readonly name: string; readonly damage: (text: string) => string }[] = [
  { name: 'nothing', damage: () => '' },
  { name: 'half of it', damage: (text) => text.slice(0, text.length / 2) },
  { name: 'null', damage: () => 'null' },
  { name: 'a list', damage: () => '[]' },
  { name: 'a newer format', damage: (text) => text.replace('"format":1', '"format":2') },
  { name: 'no sequence', damage: (text) => text.replace(/"sequence":\d+/, '"sequence":"1"') },
  { name: 'a negative sequence', damage: (text) => text.replace(/"sequence":\d+/, '"sequence":-1') },
  { name: 'an unknown state', damage: (text) => text.replace('"active"', '"asleep"') },
  { name: 'two active CAs', damage: (text) => text.replace('"prepared"', '"active"') },
  { name: 'an unknown kind', damage: (text) => text.replace('"kind":"x509"', '"kind":"x508"') },
  { name: 'a key id that is a path', damage: (text) => text.replace(/"keyId":"[^"]+"/, '"keyId":"../x"') },
  { name: 'an end that is no number', damage: (text) => text.replace(/"notAfter":\d+/, '"notAfter":null') },
  { name: 'a CA that is no certificate', damage: (text) => text.replace(/"chain":\["[^"]+"\]/, '"chain":["AAAA"]') },
  { name: 'a CA without certificates', damage: (text) => text.replace(/"chain":\["[^"]+"\]/, '"chain":[]') },
  { name: 'a JWT key that is none', damage: (text) => text.replace(/"publicKey":"[^"]+"/, '"publicKey":"AAAA"') },
];

for (const { name, damage } of damages) {
  test(`a journal with ${name} is refused, and stays as it is`, async () => {
    const { text, stage } = await filled();
    const damaged = damage(text);
    assert.notEqual(damaged, text);
    stage.stores.texts.set('authority', damaged);
    await assert.rejects(stage.open(), { code: 'authority_failed', message: /is damaged/ });
    assert.equal(stage.stores.texts.get('authority'), damaged);
    assert.equal((await stage.keyManager.list()).length, 4, 'no key is touched');
  });
}

test('a journal that was changed anywhere loads, or is refused as damaged or as of another trust domain', async () => {
  const { text, stage } = await filled();
  await fc.assert(
    fc.asyncProperty(
      fc.nat(text.length - 1),
      fc.string({ minLength: 1, maxLength: 1, unit: 'grapheme-ascii' }),
      async (place, letter) => {
        stage.stores.texts.set('authority', text.slice(0, place) + letter + text.slice(place + 1));
        const journal = createJournal(stage.stores.documents, TRUST_DOMAIN);
        await journal.load().catch((error: unknown) => {
          assert.ok(['authority_failed', 'config_invalid'].includes((error as { code: string }).code), String(error));
        });
      },
    ),
    { numRuns: 300 },
  );
});

test('keys of others in the same key manager are never removed', async () => {
  const stage = createAuthorityStage();
  await stage.keyManager.generate('x509-of-somebody-else', 'ec-p256');
  const authority = await stage.open();
  await authority.prepare('x509');
  await authority.prepare('x509');
  await stage.open();
  assert.ok((await stage.keyManager.list()).includes('x509-of-somebody-else'));
});
