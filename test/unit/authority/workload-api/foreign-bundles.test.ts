import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readJwtBundles, readX509Svids } from '../../../../src/authority/workload-api/agent-answers.ts';
import { AgentBundles } from '../../../../src/authority/workload-api/agent-bundles.ts';
import { encodeMessage, JwtBundlesResponse, X509SvidResponse } from '../../../../src/proto/index.ts';
import { formatJwtBundle, parseSpiffeId, parseTrustDomain, type TrustBundle } from '../../../../src/spiffe/index.ts';
import { createTestTrustDomain, type TestTrustDomain } from '../../../support/test-trust-domain.ts';

const OWN = parseTrustDomain('example.test');
const OTHER = parseTrustDomain('other.test');

/** What an agent with one SVID says of the foreign bundles. */
async function x509Answer(domain: TestTrustDomain, foreign: Readonly<Record<string, Uint8Array>>): Promise<Uint8Array> {
  const spiffeId = parseSpiffeId('spiffe://example.test/web');
  const svid = await domain.issueX509Svid({ entryId: 'web', spiffeId });
  const x509Svid = Buffer.concat(svid.certificateChain);
  const bundle = Buffer.concat(domain.bundle.value.x509Authorities);
  const svids = [{ spiffeId, x509Svid, x509SvidKey: svid.privateKey, bundle }];
  return encodeMessage(X509SvidResponse, { svids, federatedBundles: { ...foreign } });
}

function jwtAnswer(own: string, foreign: Readonly<Record<string, string>>): Uint8Array {
  const bundles = Object.entries({ 'spiffe://example.test': own, ...foreign });
  return encodeMessage(JwtBundlesResponse, {
    bundles: Object.fromEntries(bundles.map(([name, text]) => [name, Buffer.from(text)])),
  });
}

describe('foreign bundles that an agent hands on', () => {
  it('that cannot be read hold nothing else up', async () => {
    const [domain, third] = [await createTestTrustDomain('example.test'), await createTestTrustDomain('third.test')];
    const thirdRoots = Buffer.concat(third.bundle.value.x509Authorities);
    const leaf = await third.issueX509Svid({ entryId: 'x', spiffeId: parseSpiffeId('spiffe://third.test/x') });
    const notCa = leaf.certificateChain[0]!;
    for (const wrong of [Buffer.from('bundle'), notCa, Buffer.concat([thirdRoots, notCa]), thirdRoots.subarray(1)]) {
      const foreign = { 'spiffe://other.test': wrong, 'spiffe://third.test': thirdRoots };
      const read = readX509Svids(await x509Answer(domain, foreign), OWN);
      assert.equal(read.svids.size, 1);
      assert.deepEqual([...read.foreign.bundles.keys()], ['third.test']);
      assert.deepEqual([...read.foreign.unreadable.keys()], [OTHER]);
    }
    const short = { kty: 'RSA', kid: 'a', n: Buffer.alloc(128, 255).toString('base64url'), e: 'AQAB' };
    const own = formatJwtBundle(domain.bundle.value);
    const thirdKeys = formatJwtBundle(third.bundle.value);
    for (const wrong of ['', '[]', '{"keys":{}}', '{"keys":[],"keys":[]}', JSON.stringify({ keys: [short] })]) {
      const foreign = { 'other.test': wrong, 'third.test': thirdKeys };
      const read = readJwtBundles(jwtAnswer(own, foreign), OWN);
      assert.deepEqual([...read.bundles.keys()], ['example.test', 'third.test'], wrong);
      assert.deepEqual([...read.unreadable.keys()], [OTHER], wrong);
      assert.throws(() => readJwtBundles(jwtAnswer(wrong, {}), OWN), { code: 'invalid_request' }, wrong);
    }
  });

  it('stay as they were last good while they cannot be read, and go when the agent has none any more', async () => {
    const [domain, other] = [await createTestTrustDomain('example.test'), await createTestTrustDomain('other.test')];
    const bundles = new AgentBundles(OWN);
    const own = formatJwtBundle(domain.bundle.value);
    const roots = Buffer.concat(other.bundle.value.x509Authorities);
    const tell = async (x509: Readonly<Record<string, Uint8Array>>, jwt: Readonly<Record<string, string>>) => {
      bundles.setX509(readX509Svids(await x509Answer(domain, x509), OWN));
      bundles.setJwt(readJwtBundles(jwtAnswer(own, jwt), OWN));
      return bundles.foreign.value.get(OTHER);
    };
    const none = Buffer.from('bundle');
    assert.equal(await tell({ 'other.test': none }, { 'other.test': 'keys' }), undefined, 'nothing is made up');
    const sizes = (bundle: TrustBundle | undefined): readonly unknown[] => [
      bundle?.x509Authorities.length,
      bundle?.jwtAuthorities.length,
    ];
    const good = await tell({ 'other.test': roots }, { 'other.test': formatJwtBundle(other.bundle.value) });
    assert.deepEqual(sizes(good), [1, 1]);
    assert.equal(await tell({ 'other.test': none }, { 'other.test': 'keys' }), good);
    assert.equal(await tell({ 'other.test': none }, { 'other.test': 'keys' }), good, 'and at the next answer');
    assert.deepEqual(sizes(await tell({ 'other.test': none }, {})), [1, 0], 'each half for itself');
    assert.deepEqual(sizes(await tell({ 'other.test': new Uint8Array() }, {})), [0, 0]);
    assert.equal(await tell({}, {}), undefined);
    assert.equal(await tell({ 'other.test': none }, {}), undefined, 'what went does not come back');
  });
});
