/** Who is who in a world of the hunt: real verifiers, and what changes while they are asked. */
import { createPublicKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createRevocations, type Revocations } from '../../src/authority/index.ts';
import {
  noAudit,
  noMetrics,
  silentLogger,
  Watchable,
  type Clock,
  type ReadonlyWatchable,
} from '../../src/core/index.ts';
import { openDataDirectory, openSqliteDatastore } from '../../src/datastore/index.ts';
import {
  createPeerVerifier,
  createRequestVerifier,
  createTokenVerifier,
  createXfccVerifier,
  type RequestVerifier,
  type TokenVerifier,
} from '../../src/peer/index.ts';
import { spkiOf } from '../../src/pki/index.ts';
import {
  parseSpiffeId,
  parseSpiffeIdPattern,
  parseTrustDomain,
  type ForeignBundles,
  type TrustBundle,
} from '../../src/spiffe/index.ts';
import { jwksOf } from '../support/jwt-issuer.ts';
import { waitUntil } from '../support/wait-until.ts';
import { AUDIENCE, TOKEN_ISSUER, type People } from './people.ts';
import type { Change, Moment, Timeline } from './timeline.ts';

export interface WorldParts {
  readonly people: People;
  readonly clock: Clock;
  readonly timeline: Timeline;
}

export interface WorldIdentity {
  readonly requests: RequestVerifier;
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
  readonly revocations: Revocations['snapshot'];
  change(to: Change): Promise<void>;
}

export async function createWorldIdentity(
  folder: string,
  parts: WorldParts,
  open: AsyncDisposableStack,
): Promise<WorldIdentity> {
  const { people, clock, timeline } = parts;
  const bundle = new Watchable(bundleOf(people, timeline.now));
  const foreignBundles = new Watchable<ForeignBundles>(foreignBundlesOf(people, timeline.now));
  const revocations = await openRevocations(join(folder, 'data'), { clock, open });
  const keyFile = join(folder, 'keys.json');
  await writeFile(keyFile, keysText(people, timeline.now));
  const { snapshot } = revocations;
  const peers = createPeerVerifier({ bundle, foreignBundles, revocations: snapshot, clock });
  const place = { header: 'authorization', prefix: 'Bearer ' };
  const provider = {
    place,
    audiences: ['api'],
    algorithms: ['RS256', 'ES256'] as const,
    keys: { kind: 'file', file: keyFile } as const,
    requiredClaims: new Map(),
    clockSkewMs: 30_000,
  };
  const tokens = createTokenVerifier({
    jwtSvid: { place, audiences: [AUDIENCE], singleUse: false },
    providers: new Map([
      ['issuer', { ...provider, issuer: TOKEN_ISSUER, singleUse: false }],
      ['once', { ...provider, issuer: `${TOKEN_ISSUER}/once`, singleUse: true }],
    ]),
    bundle,
    foreignBundles,
    isRevoked: (spiffeId) => snapshot.value.hasSpiffeId(spiffeId),
    clock,
    logger: silentLogger,
    metrics: noMetrics,
  });
  const stop = new AbortController();
  const following = tokens.run(stop.signal).catch(() => undefined);
  open.defer(async () => {
    stop.abort();
    await following;
  });
  const xfcc = createXfccVerifier({ peers, trusted: [parseSpiffeIdPattern('spiffe://example.test/gateway')] });
  const requests = createRequestVerifier({ peers, xfcc, tokens });
  await waitUntil('the keys of the issuer', 10_000, () => isVerified(tokens, people, 'good'));
  return {
    requests,
    bundle,
    foreignBundles,
    revocations: snapshot,
    async change(to: Change): Promise<void> {
      const before = timeline.now;
      timeline.set({ isChanging: true });
      if (to.tokenKeys !== undefined) await replaceKeys(to.tokenKeys, { keyFile, tokens, people, timeline });
      const {
        tokenKeys: _,
        revokedIds = before.revokedIds,
        revokedCertificates = before.revokedCertificates,
        ...rest
      } = to;
      await revoke(revocations, people, {
        ids: revokedIds.filter((uri) => !before.revokedIds.includes(uri)),
        certificates: revokedCertificates.filter((name) => !before.revokedCertificates.includes(name)),
      });
      // From here to the next await there is no other turn: a check sees all of it or nothing.
      const revokedHolders = revokedCertificates.map((name) => people.credentials.get(name)!.spiffeId ?? '');
      timeline.set({ ...rest, revokedIds, revokedCertificates, revokedHolders });
      if (to.roots !== undefined) {
        bundle.set(bundleOf(people, timeline.now));
        foreignBundles.set(foreignBundlesOf(people, timeline.now));
      }
      await restore(revocations, people, timeline.now);
      timeline.set({ isChanging: false });
    },
  };
}

function bundleOf({ roots, keys }: People, { roots: names }: Moment): TrustBundle {
  const { keyId, privateKey } = keys.get('svids')!;
  return {
    trustDomain: parseTrustDomain('example.test'),
    x509Authorities: ['first', 'second'].filter((name) => names.includes(name)).map((name) => roots.get(name)!),
    jwtAuthorities: [{ keyId, publicKey: spkiOf(createPublicKey(privateKey)) }],
    sequence: 1,
  };
}

function foreignBundlesOf({ roots }: People, { roots: names }: Moment): ForeignBundles {
  const trustDomain = parseTrustDomain('partner.test');
  if (!names.includes('partner')) return new Map();
  return new Map([
    [trustDomain, { trustDomain, x509Authorities: [roots.get('partner')!], jwtAuthorities: [], sequence: 1 }],
  ]);
}

const keysText = ({ keys }: People, { tokenKeys }: Moment): string =>
  jwksOf(...tokenKeys.map((name) => keys.get(name)!));

async function isVerified(tokens: TokenVerifier, { tokens: known }: People, name: string): Promise<boolean> {
  const text = known.get(name)!.text;
  const [token] = await tokens.verify(
    (header) => (header === 'authorization' ? `Bearer ${text}` : undefined),
    100,
    'default',
  );
  return token?.verified === true;
}

/** While the file is read anew the old keys and the new ones may count. */
async function replaceKeys(
  next: readonly string[],
  parts: {
    readonly keyFile: string;
    readonly tokens: TokenVerifier;
    readonly people: People;
    readonly timeline: Timeline;
  },
): Promise<void> {
  const { keyFile, tokens, people, timeline } = parts;
  timeline.set({ tokenKeys: [...timeline.now.tokenKeys, ...next] });
  await writeFile(keyFile, keysText(people, { ...timeline.now, tokenKeys: next }));
  await waitUntil('the new keys of the issuer', 30_000, async () => {
    const good = await isVerified(tokens, people, 'good');
    const byNext = await isVerified(tokens, people, 'good by the next key');
    return good === next.includes('issuer') && byNext === next.includes('next');
  });
  timeline.set({ tokenKeys: next });
}

async function openRevocations(
  path: string,
  { clock, open }: { readonly clock: Clock; readonly open: AsyncDisposableStack },
): Promise<Revocations> {
  const directory = await openDataDirectory(path);
  open.defer(() => directory.close());
  const datastore = await openSqliteDatastore({ directory, clock, logger: silentLogger });
  open.defer(() => datastore.close());
  const { revocations: store, issued } = datastore;
  return await createRevocations({ store, issued, clock, logger: silentLogger, audit: noAudit });
}

async function revoke(
  revocations: Revocations,
  { credentials }: People,
  what: { readonly ids: readonly string[]; readonly certificates: readonly string[] },
): Promise<void> {
  const reason = 'key_compromise';
  for (const uri of what.ids) {
    await revocations.revoke({ target: { kind: 'spiffe_id', spiffeId: parseSpiffeId(uri) }, reason });
  }
  for (const name of what.certificates) {
    const { serial, spiffeId = '', notAfter } = credentials.get(name)!;
    const target = { kind: 'serial', serial, spiffeId: parseSpiffeId(spiffeId), notAfter } as const;
    await revocations.revoke({ target, reason });
  }
}

/** Undoes what is not revoked any more. */
async function restore(revocations: Revocations, { credentials }: People, moment: Moment): Promise<void> {
  const serials = moment.revokedCertificates.map((name) => credentials.get(name)!.serial);
  for (const { id, target } of revocations.snapshot.value.all) {
    const isRevoked =
      target.kind === 'serial' ? serials.includes(target.serial) : moment.revokedIds.includes(target.spiffeId);
    if (!isRevoked) await revocations.undo(id);
  }
}
