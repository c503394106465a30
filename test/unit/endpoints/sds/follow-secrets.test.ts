import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { UNKNOWN_NODE } from '../../../../src/discovery/index.ts';
import type { ResourceState } from '../../../../src/discovery/index.ts';
import type { CallerIdentity, HeldSvid, PendingSvid } from '../../../../src/identity/index.ts';
import { pemCertificates, pemEncode } from '../../../../src/pki/index.ts';
import type { PeerList, PeerLists } from '../../../../src/secrets/index.ts';
import {
  parseSpiffeId,
  parseSpiffeIdPattern,
  parseTrustDomain,
  type TrustBundle,
} from '../../../../src/spiffe/index.ts';
import {
  followStage,
  identityOf,
  matchersIn,
  PLAIN_NODE,
  readySecret,
  secretIn,
  textOf,
  trustDomainsIn,
  viewOf,
  type FollowStage,
} from '../../../support/follow-secrets-stage.ts';
import { createTestTrustDomain, type TestTrustDomain } from '../../../support/test-trust-domain.ts';

const id = (path: string) => parseSpiffeId(`spiffe://example.test${path}`);
const own = 'spiffe://example.test';
const foreign = 'spiffe://partner.test';
const NOBODY = 'exact no peer at all';

const domain = await createTestTrustDomain('example.test');
const partner = await createTestTrustDomain('partner.test');
const bundle = domain.bundle.value;
const partnerBundle = partner.bundle.value;
const emptyBundle: TrustBundle = { ...partnerBundle, trustDomain: parseTrustDomain('empty.test'), x509Authorities: [] };

async function held(path: string, hint?: string, entryId = path): Promise<HeldSvid> {
  const svid = await domain.issueX509Svid({ spiffeId: id(path), entryId });
  return { svid, entryId, ...(hint === undefined ? {} : { hint }) };
}
const toCome = (path: string, more: Partial<PendingSvid> = {}): PendingSvid => ({
  spiffeId: id(path),
  isDefault: false,
  ...more,
});
const [a, b] = await Promise.all([held('/a', 'web'), held('/b')]);
const registered = identityOf(bundle, [a, b]);
const federated: CallerIdentity = { ...registered, foreignBundles: [emptyBundle, partnerBundle] };
const nobody: CallerIdentity = { ...identityOf(bundle, []), foreignBundles: [partnerBundle] };

/** The serial of an SVID, or the kind of the state. */
function serialOf(state: ResourceState): string {
  return state.kind === 'ready' ? (state.resource.facts.serial ?? state.resource.facts.kind) : state.kind;
}

const pemOf = (of: TestTrustDomain): string =>
  of.bundle.value.x509Authorities.map((der) => pemEncode('CERTIFICATE', der)).join('');

let stage: FollowStage;
before(async () => (stage = await followStage()));

test('an SVID is PEM with one block for each certificate and a PKCS #8 key, with its facts', () => {
  const state = viewOf(stage, registered).lookup(id('/a'), false);
  const { tlsCertificate, name } = secretIn(state);
  assert.equal(name, id('/a'));
  assert.deepEqual(pemCertificates(textOf(tlsCertificate?.certificateChain)), a.svid.certificateChain.map((der) => Buffer.from(der))); // prettier-ignore
  assert.equal(textOf(tlsCertificate?.privateKey), pemEncode('PRIVATE KEY', a.svid.privateKey));
  const { facts, bytes, version } = readySecret(state);
  const { serial, spiffeId, notAfter: expiresAt } = a.svid;
  assert.deepEqual(facts, { kind: 'x509_svid', spiffeId, serial, expiresAt });
  assert.equal(version, createHash('sha256').update(bytes).digest('hex').slice(0, 16));
});

const waiting: CallerIdentity = {
  ...identityOf(bundle, [b]),
  pending: [toCome('/a', { isDefault: true, hint: 'web' })],
};
const svidCases: readonly (readonly [string, CallerIdentity, string, string])[] = [
  ['the first entry is the default', registered, 'default', a.svid.serial],
  ['by SPIFFE ID', registered, id('/b'), b.svid.serial],
  ['by hint', registered, 'hint:web', a.svid.serial],
  ['no such SPIFFE ID', registered, id('/c'), 'unknown'],
  ['no such hint', registered, 'hint:other', 'unknown'],
  ['no such name', registered, 'other', 'unknown'],
  ['of the language', registered, '__proto__', 'unknown'],
  ['never another in the place of the default', waiting, 'default', 'pending'],
  ['never another in the place of a hint', waiting, 'hint:web', 'pending'],
  ['an SVID that is to come', waiting, id('/a'), 'pending'],
  ['one that is there beside it', waiting, id('/b'), b.svid.serial],
  ['all are to come', { ...waiting, svids: [] }, 'default', 'pending'],
  ['not registered, the default', nobody, 'default', 'unknown'],
  ['not registered, the own bundle', nobody, 'ROOTCA', 'unknown'],
  ['not registered, all bundles', nobody, 'ALL', 'unknown'],
  ['not registered, a foreign bundle', nobody, foreign, 'unknown'],
  ['another trust domain', registered, foreign, 'unknown'],
  ['a foreign bundle without a root', federated, 'spiffe://empty.test', 'unknown'],
];

for (const [what, identity, name, expected] of svidCases) {
  test(`${what}: ${name} is ${/^[0-9a-f]{8,}$/.test(expected) ? 'its SVID' : expected}`, () => {
    const view = viewOf(stage, identity, { names: [name] });
    assert.equal(serialOf(view.lookup(name, false)), expected);
  });
}

test('who is not registered gets nothing at all, whatever it holds', () => {
  const view = viewOf(stage, nobody);
  assert.deepEqual([view.isRegistered, view.isPending, view.all()], [false, false, []]);
  for (const name of [foreign, own, 'ROOTCA', 'ALL', 'ROOTCA?peers=x', 'file-root:/x']) {
    assert.deepEqual(view.lookup(name, true), { kind: 'unknown' });
  }
});

test('no name means own bundle, foreign bundles, SVIDs; of a hint and of a SPIFFE ID the first, as by name', async () => {
  const [sameHint, sameId] = await Promise.all([held('/b', 'web', 'other'), held('/b', undefined, 'third')]);
  const identity = { ...federated, svids: [a, sameHint, sameId], pending: [toCome('/z')] };
  const view = viewOf(stage, identity);
  assert.deepEqual(
    view.all().map(({ name }) => name),
    [own, foreign, id('/a'), id('/b')],
  );
  assert.deepEqual([view.isPending, view.isRegistered], [true, true]);
  assert.equal(serialOf(view.lookup(id('/b'), false)), sameId.svid.serial);
  for (const secret of view.all()) assert.equal(readySecret(view.lookup(secret.name, false)), secret);
  assert.equal(view.all(), view.all());
  assert.equal(serialOf(view.lookup('hint:web', false)), a.svid.serial);
});

test('an SVID that `all` leaves out for its hint is had by its SPIFFE ID', async () => {
  const sameHint = await held('/c', 'web');
  const view = viewOf(stage, identityOf(bundle, [a, sameHint]));
  assert.deepEqual(
    view.all().map(({ name }) => name),
    [own, id('/a')],
  );
  assert.equal(serialOf(view.lookup(id('/c'), false)), sameHint.svid.serial);
});

suite('bundles', () => {
  for (const name of ['ROOTCA', own]) {
    test(`${name} is the own bundle, in the SPIFFE validator or as plain roots`, () => {
      const state = viewOf(stage, federated).lookup(name, false);
      assert.equal(secretIn(state).name, name);
      assert.deepEqual(trustDomainsIn(state), { 'example.test': pemOf(domain) });
      assert.equal(secretIn(state).validationContext?.trustedCa, null);
      assert.deepEqual(matchersIn(state), []);
      assert.deepEqual(readySecret(state).facts, { kind: 'bundle', bundleSequence: 1 });
      const plain = viewOf(stage, federated, { node: PLAIN_NODE }).lookup(name, false);
      assert.equal(trustDomainsIn(plain), undefined);
      assert.equal(textOf(secretIn(plain).validationContext?.trustedCa), pemOf(domain));
    });
  }

  test('a foreign bundle says nothing of our own', () => {
    const state = viewOf(stage, federated).lookup(foreign, false);
    assert.deepEqual(trustDomainsIn(state), { 'partner.test': pemOf(partner) });
    assert.deepEqual(readySecret(state).facts, { kind: 'bundle' });
  });

  test('ALL has every domain that has a root, by name; without the SPIFFE validator it cannot be served', () => {
    const state = viewOf(stage, federated).lookup('ALL', false);
    assert.deepEqual(Object.keys(trustDomainsIn(state) ?? {}), ['example.test', 'partner.test']);
    assert.equal(readySecret(state).facts.bundleSequence, 1);
    const plain = viewOf(stage, federated, { node: PLAIN_NODE });
    for (const name of ['ALL', 'ALL?peers=x']) {
      assert.throws(() => plain.lookup(name, false), { code: 'invalid_request', message: /needs the SPIFFE/ });
    }
    assert.equal(plain.all().length, 4);
  });

  test('an own bundle without a root is to come', () => {
    const rootless = { ...registered, bundle: { ...bundle, x509Authorities: [] } };
    const view = viewOf(stage, rootless);
    assert.deepEqual(
      ['ROOTCA', own, 'ALL'].map((name) => view.lookup(name, true).kind),
      ['pending', 'pending', 'pending'],
    );
    assert.deepEqual(
      view.all().map(({ name }) => name),
      [id('/a'), id('/b')],
    );
  });

  test('CRLs stand beside the roots in the SPIFFE validator, and by themselves without it', () => {
    const crl = Buffer.from('a revocation list');
    const revoked = { ...registered, bundle: { ...bundle, revocationLists: [crl] } };
    const pem = pemEncode('X509 CRL', crl);
    assert.deepEqual(trustDomainsIn(viewOf(stage, revoked).lookup('ROOTCA', false)), {
      'example.test': pemOf(domain) + pem,
    });
    const plain = secretIn(viewOf(stage, revoked, { node: PLAIN_NODE }).lookup('ROOTCA', false)).validationContext;
    assert.deepEqual([textOf(plain?.trustedCa), textOf(plain?.crl)], [pemOf(domain), pem]);
    const without = secretIn(viewOf(stage, registered, { node: PLAIN_NODE }).lookup('ROOTCA', false));
    assert.equal(without.validationContext?.crl, null);
  });
});

suite('lists of peers', () => {
  const known = (...peers: readonly string[]) => ({ kind: 'known', peers: peers.map(parseSpiffeIdPattern) }) as const;
  const lists: PeerLists = new Map<string, PeerList>([
    ['callers', known(`${own}/web`, `${own}/team/**`, `${foreign}/x`)],
    ['empty', known()],
    ['later', { kind: 'pending' }],
  ]);
  const matchers = [`exact ${own}/web`, `prefix ${own}/team/`, `exact ${foreign}/x`];
  /** With plain roots a CA could sign for any trust domain. */
  const matchersOf = (name: string) => matchers.filter((one) => one.includes(foreign) === (name === foreign));
  before(() => stage.peers.set(lists));

  test('plain roots let in nobody by a list that has only IDs of other trust domains', () => {
    stage.peers.set(new Map([...lists, ['elsewhere', known(`${own}/web`, `${own}.evil/**`)]]));
    const view = viewOf(stage, federated, { node: PLAIN_NODE });
    assert.deepEqual(matchersIn(view.lookup(`${foreign}?peers=elsewhere`, false)), [NOBODY]);
    assert.deepEqual(matchersIn(view.lookup('ROOTCA?peers=elsewhere', false)), [`exact ${own}/web`]);
    stage.peers.set(lists);
  });

  for (const [minor, isOpen] of [
    [20, false],
    [21, true],
  ] as const) {
    test(`Envoy 1.${minor} ${isOpen ? 'takes a list' : 'would let everybody in, and gets a context that nobody passes'}`, () => {
      for (const disableSpiffeCertValidation of [false, true]) {
        const node = { ...UNKNOWN_NODE, version: { major: 1, minor }, disableSpiffeCertValidation };
        for (const list of ['callers', 'empty', 'later']) {
          const state = viewOf(stage, federated, { node }).lookup(`${own}?peers=${list}`, false);
          if (!isOpen) assertClosed(state);
          else if (list === 'callers') assert.equal(matchersIn(state)[0], `exact ${own}/web`);
        }
        const whole = viewOf(stage, federated, { node }).lookup(own, false);
        assert.deepEqual(matchersIn(whole), []);
      }
    });
  }

  for (const node of [UNKNOWN_NODE, PLAIN_NODE]) {
    const names = ['ROOTCA', own, foreign, ...(node === PLAIN_NODE ? [] : ['ALL'])];
    for (const name of names) {
      const validator = node === PLAIN_NODE ? 'plain roots' : 'the SPIFFE validator';
      test(`${name} with ${validator} lets in only who is on the list`, () => {
        const view = viewOf(stage, federated, { node });
        const [whole, narrowed] = [view.lookup(name, false), view.lookup(`${name}?peers=callers`, false)];
        assert.deepEqual(matchersIn(narrowed), node === PLAIN_NODE ? matchersOf(name) : matchers);
        assert.deepEqual(trustDomainsIn(narrowed), trustDomainsIn(whole));
        assert.equal(
          textOf(secretIn(narrowed).validationContext?.trustedCa),
          textOf(secretIn(whole).validationContext?.trustedCa),
        );
        assert.deepEqual(readySecret(narrowed).facts, readySecret(whole).facts);
        assert.equal(secretIn(narrowed).name, `${name}?peers=callers`);
      });

      for (const list of ['empty', 'none', 'constructor']) {
        test(`${name} with ${validator} and the list ${list} lets in nobody`, () => {
          const view = viewOf(stage, federated, { node });
          const state = view.lookup(`${name}?peers=${list}`, false);
          assert.deepEqual(Object.keys(trustDomainsIn(state) ?? {}), Object.keys(trustDomainsIn(view.lookup(name, false)) ?? {})); // prettier-ignore
          assertClosed(state);
        });
      }

      test(`${name} with ${validator} waits for a list that is to come`, () => {
        assert.deepEqual(viewOf(stage, federated, { node }).lookup(`${name}?peers=later`, true), { kind: 'pending' });
      });
    }
  }

  test('a bundle that the caller has no right to is unknown with any list', () => {
    for (const list of ['callers', 'empty', 'none', 'later']) {
      assert.deepEqual(viewOf(stage, registered).lookup(`${foreign}?peers=${list}`, false), { kind: 'unknown' });
    }
  });

  test('who asks for a list is told when it changes, and nobody else is', async () => {
    const stage = await followStage();
    const callers = known('spiffe://example.test/a');
    stage.peers.set(new Map([['callers', callers]]));
    using followed = stage.open();
    followed.ask(new Set(['ROOTCA', 'default']));
    stage.peers.set(new Map([['callers', known('spiffe://example.test/b')]]));
    assert.equal(stage.changes, 0);
    followed.ask(new Set(['ROOTCA', 'spiffe://example.test?peers=callers']));
    stage.peers.set(new Map(stage.peers.value).set('other', callers));
    assert.equal(stage.changes, 0);
    stage.peers.set(new Map([['callers', callers]]));
    assert.equal(stage.changes, 1);
    assert.deepEqual(
      matchersIn(followed.view(registered, UNKNOWN_NODE).lookup('spiffe://example.test?peers=callers', false)),
      ['exact spiffe://example.test/a'],
    );
    stage.peers.set(new Map());
    assert.equal(stage.changes, 2);
    followed.ask(new Set(['ROOTCA']));
    stage.peers.set(new Map([['callers', callers]]));
    assert.equal(stage.changes, 2);
  });
});

suite('a foreign bundle that an Envoy holds and must not trust any more', () => {
  for (const name of [foreign, `${foreign}?peers=callers`, 'spiffe://empty.test']) {
    test(`${name} is replaced by a context that nobody passes`, () => {
      const identity = name === 'spiffe://empty.test' ? federated : registered;
      const state = viewOf(stage, identity).lookup(name, true);
      assert.equal(secretIn(state).name, name);
      assert.deepEqual(Object.keys(trustDomainsIn(state) ?? {}), [name.slice('spiffe://'.length).split('?')[0]]);
      assertClosed(state);
      const plain = viewOf(stage, identity, { node: PLAIN_NODE }).lookup(name, true);
      assert.equal(trustDomainsIn(plain), undefined);
      assertClosed(plain);
      assert.deepEqual(viewOf(stage, identity).lookup(name, false), { kind: 'unknown' });
    });
  }

  test('the same context is sent for as long as nothing changes, and for the same node on each stream', () => {
    using followed = stage.open();
    followed.ask(new Set([foreign]));
    const look = () => readySecret(followed.view(registered, UNKNOWN_NODE).lookup(foreign, true));
    assert.equal(look(), look());
    const other = readySecret(viewOf(stage, registered, { names: [foreign] }).lookup(foreign, true));
    assert.equal(other.version, look().version);
    const back = followed.view(federated, UNKNOWN_NODE).lookup(foreign, true);
    assert.deepEqual(trustDomainsIn(back), { 'partner.test': pemOf(partner) });
  });

  test('SVIDs and what means nothing are never replaced', () => {
    const view = viewOf(stage, registered);
    for (const name of [id('/c'), 'hint:other', 'other', 'default?peers=x', `${own}/c?peers=x`, 'ROOTCA?x=y']) {
      assert.deepEqual(view.lookup(name, true), { kind: 'unknown' });
    }
  });
});

test('all streams of one identity and of one bundle share one secret, until it changes', async () => {
  stage.peers.set(new Map([['callers', { kind: 'known', peers: [parseSpiffeIdPattern(`${own}/web`)] }]]));
  const names = ['default', id('/a'), 'hint:web', 'ROOTCA', own, foreign, 'ALL', 'ALL?peers=callers', 'ROOTCA?peers=callers']; // prettier-ignore
  const look = (identity: CallerIdentity, name: string, node = UNKNOWN_NODE) =>
    readySecret(viewOf(stage, identity, { names: [name], node }).lookup(name, false));
  for (const name of names) assert.equal(look(federated, name), look({ ...federated, svids: [a] }, name));
  const later = { ...federated, bundle: { ...bundle, sequence: 2 } };
  const [before, after] = [look(federated, 'ROOTCA'), look(later, 'ROOTCA')];
  assert.equal(after.version, before.version);
  assert.deepEqual([before.facts.bundleSequence, after.facts.bundleSequence], [1, 2]);
  assert.notEqual(look(federated, 'ROOTCA', PLAIN_NODE).version, before.version);
  const fewer = look(registered, 'ALL');
  assert.notEqual(fewer.version, look(federated, 'ALL').version);
  const renewed = { ...federated, svids: [await held('/a')] };
  assert.notEqual(look(renewed, 'default').version, look(federated, 'default').version);
});

test('a name that was not asked for is answered all the same, as far as nothing has to be followed for it', () => {
  const view = viewOf(stage, registered, { names: ['other'] });
  assert.equal(view.lookup('default', false).kind, 'ready');
  assert.equal(view.lookup('jwt:default?aud=x', false).kind, 'unknown');
});

/** Neither a root with a key that somebody has, nor a name that a certificate can have. */
function assertClosed(state: ResourceState): void {
  assert.deepEqual(matchersIn(state), [NOBODY]);
  const context = secretIn(state).validationContext;
  const texts = Object.values(trustDomainsIn(state) ?? { plain: textOf(context?.trustedCa) });
  assert.ok(texts.length > 0);
  for (const text of texts) {
    const [root, ...more] = pemCertificates(text).map((der) => new X509Certificate(der));
    assert.ok(root !== undefined && more.length === 0);
    assert.ok(root.ca && root.verify(root.publicKey));
    assert.match(root.subject, /svidgate: nobody/);
    assert.ok(!pemOf(domain).includes(text) && !pemOf(partner).includes(text));
  }
  assert.equal(readySecret(state).facts.bundleSequence, undefined);
}
