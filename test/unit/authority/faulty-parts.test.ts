import 'reflect-metadata';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as x509 from '@peculiar/x509';
import type { KeyManager, UpstreamAuthority } from '../../../src/authority/index.ts';
import { SvidgateError, Watchable } from '../../../src/core/index.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';
import { createAuthorityStage, createTestUpstream } from '../../support/authority-stage.ts';
import { parsed } from '../../support/parsed-certificate.ts';
import { TRUST_DOMAIN } from '../../support/svid-fixtures.ts';

const HOUR = 3600_000;
const ORDERS = parseSpiffeId('spiffe://example.test/orders');

test('while the clock is before the CA nothing is signed by it, and then by one that is valid', async () => {
  const stage = createAuthorityStage();
  const authority = await stage.open();
  stage.clock.set(stage.clock.now() - 24 * HOUR);
  await assert.rejects(authority.issueX509Svid({ spiffeId: ORDERS }), { code: 'authority_failed' });
  const stop = new AbortController();
  const running = authority.run(stop.signal);
  await stage.clock.advance(60_000);
  stop.abort();
  await running;
  const svid = await authority.issueX509Svid({ spiffeId: ORDERS });
  const signer = authority.slots.value.find(({ id }) => id === svid.authorityId);
  assert.ok(signer!.notBefore <= stage.clock.now());
});

/** Removes no key with this id. */
function keeping(keyManager: KeyManager, kept: () => string): KeyManager {
  return {
    ...keyManager,
    remove: async (id) => {
      if (id === kept()) throw new SvidgateError('key_manager_failed', 'permission denied');
      await keyManager.remove(id);
    },
    generate: async (id, type) => {
      // As a Vault does, where a key is replaced by removing it first.
      if (id === kept() && (await keyManager.find(id)))
        throw new SvidgateError('key_manager_failed', 'permission denied');
      return await keyManager.generate(id, type);
    },
  };
}

test('a key that cannot be removed keeps no other from being made or removed', async () => {
  const stage = createAuthorityStage();
  let stuck = '';
  const authority = await stage.open({ keyManager: keeping(stage.keyManager, () => stuck) });
  const first = await authority.prepare('x509');
  stuck = first.keyId;
  const second = await authority.prepare('x509');
  const third = await authority.prepare('x509');
  await authority.prepare('jwt');
  assert.equal(new Set([first.keyId, second.keyId, third.keyId]).size, 3);
  const keys = await stage.keyManager.list();
  assert.ok(keys.includes(stuck) && keys.includes(third.keyId) && !keys.includes(second.keyId));
  stuck = '';
  await authority.prepare('jwt');
  assert.ok(!(await stage.keyManager.list()).includes(first.keyId), 'removed when that is possible again');
});

test('an upstream that gives two CAs one subject key identifier is refused, and the journal stays readable', async () => {
  const stage = createAuthorityStage();
  const upstream = await createTestUpstream(stage.clock);
  const authority = await stage.open({ upstream: await withKeyIdentifier(upstream, 'ab'.repeat(20)) });
  const before = authority.slots.value;
  await assert.rejects(authority.prepare('x509'), {
    code: 'upstream_failed',
    message: 'upstream authority test gave a CA with the subject key identifier of another one',
  });
  assert.deepEqual(authority.slots.value, before);
  const again = await stage.open({ upstream });
  assert.equal((await again.prepare('x509')).state, 'prepared');
});

test('an upstream whose CA has a subject key identifier that no journal takes is refused', async () => {
  const stage = createAuthorityStage();
  const upstream = await withKeyIdentifier(await createTestUpstream(stage.clock), 'ab'.repeat(65));
  await assert.rejects(stage.open({ upstream }), { code: 'upstream_failed', message: /identifier is too long/ });
});

/** Signs all CAs with this subject key identifier. */
async function withKeyIdentifier(
  upstream: Awaited<ReturnType<typeof createTestUpstream>>,
  keyIdentifier: string,
): Promise<UpstreamAuthority> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const constraints = new x509.BasicConstraintsExtension(true, undefined, true);
  const usage = new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true);
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=root',
    notBefore: new Date(0),
    notAfter: new Date(Date.UTC(2040, 0, 1)),
    signingAlgorithm: algorithm,
    keys,
    extensions: [constraints, usage],
  });
  const rootDer = new Uint8Array(root.rawData);
  return {
    kind: upstream.kind,
    roots: new Watchable<readonly Uint8Array[]>([rootDer]),
    run: (signal) => upstream.run(signal),
    async mintCa({ csr }) {
      const request = new x509.Pkcs10CertificateRequest(new Uint8Array(csr));
      const certificate = await x509.X509CertificateGenerator.create({
        subject: 'CN=intermediate',
        issuer: root.subject,
        notBefore: new Date(0),
        notAfter: new Date(Date.UTC(2039, 0, 1)),
        signingAlgorithm: algorithm,
        signingKey: keys.privateKey,
        publicKey: request.publicKey,
        extensions: [
          constraints,
          usage,
          new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${TRUST_DOMAIN}` }]),
          new x509.SubjectKeyIdentifierExtension(keyIdentifier),
        ],
      });
      return { chain: [new Uint8Array(certificate.rawData)], roots: [rootDer] };
    },
  };
}

test('roots that the upstream published stay over a restart, also while it has not answered again', async () => {
  const stage = createAuthorityStage();
  const upstream = await createTestUpstream(stage.clock);
  const before = await stage.open({ upstream });
  await upstream.rotate();
  const stop = new AbortController();
  const running = before.run(stop.signal);
  await stage.clock.advance(0);
  stop.abort();
  await running;
  assert.equal(before.bundle.value.x509Authorities.length, 2);
  upstream.roots.set([]);
  const after = await stage.open({ upstream });
  assert.deepEqual(after.bundle.value.x509Authorities.map(idOf), before.bundle.value.x509Authorities.map(idOf));
});

function idOf(der: Uint8Array): string {
  return parsed(der).subjectKeyId;
}
