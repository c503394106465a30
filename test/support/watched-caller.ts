import { SvidgateError, silentLogger, Watchable, type AuditEvent } from '../../src/core/index.ts';
import {
  createIdentitySource,
  type CallerIdentity,
  type IdentitySource,
  type IdentitySourceOptions,
} from '../../src/identity/index.ts';
import {
  parseSelector,
  parseSpiffeId,
  type ForeignBundles,
  type JwtSvid,
  type RegistrationEntry,
  type Selector,
  type TrustBundle,
  type X509Svid,
} from '../../src/spiffe/index.ts';
import { TRUST_DOMAIN } from './svid-fixtures.ts';
import { createTestClock, type TestClock } from './test-clock.ts';

/** Of the caller. */
export const SELECTORS: ReadonlySet<Selector> = new Set([parseSelector('unix:uid:1')]);
export const MINUTE = 60_000;

/** An entry that matches the caller. */
export function entry(entryId: string, path: string): RegistrationEntry {
  return { entryId, spiffeId: parseSpiffeId(`spiffe://example.test${path}`), selectors: [...SELECTORS] };
}

/** A caller that watches, with all that decides what it holds. */
export interface Stage {
  readonly clock: TestClock;
  readonly entries: Watchable<{ match: () => readonly RegistrationEntry[]; concerns: () => boolean }>;
  readonly bundle: Watchable<TrustBundle>;
  readonly issued: X509Svid[];
  readonly states: CallerIdentity[];
  readonly tokens: JwtSvid[];
  readonly foreignBundles: Watchable<ForeignBundles>;
  readonly tainted: Watchable<ReadonlySet<string>>;
  readonly audited: AuditEvent[];
  readonly source: IdentitySource;
  /** What was revoked: serials and SPIFFE IDs. */
  revoke(...what: readonly string[]): void;
  /** Id of the CA and of the JWT key that sign. */
  signer: string;
  failing: boolean;
  /** What each signature waits for. */
  signing: Promise<void>;
  stop(): Promise<void>;
}

function createIssuer(stage: () => Stage): IdentitySourceOptions['issuer'] {
  return {
    async issueX509Svid({ spiffeId }) {
      await stage().signing;
      const { clock, issued, failing, signer } = stage();
      if (failing) throw new SvidgateError('authority_failed', 'no');
      const svid: X509Svid = {
        spiffeId,
        certificateChain: [],
        privateKey: new Uint8Array(),
        serial: String(issued.length),
        authorityId: signer,
        notBefore: clock.now(),
        notAfter: clock.now() + 60 * MINUTE,
      };
      issued.push(svid);
      return svid;
    },
    async issueJwtSvid({ spiffeId, audience, includeJti }) {
      await stage().signing;
      const { clock, tokens, failing, signer } = stage();
      if (failing) throw new SvidgateError('authority_failed', 'no');
      const token = `${audience.join()}${includeJti === true ? ' with jti' : ''} ${tokens.length}`;
      const svid = { spiffeId, token, issuedAt: clock.now(), expiresAt: clock.now() + 4 * MINUTE, keyId: signer };
      tokens.push(svid);
      return svid;
    },
  };
}

/** A caller that watches; the issuer counts and can be told to fail. */
export async function watchCaller(first: readonly RegistrationEntry[]): Promise<Stage> {
  const clock = createTestClock();
  const entries: Stage['entries'] = new Watchable<Stage['entries']['value']>({
    match: () => first,
    concerns: () => true,
  });
  const bundle = new Watchable<TrustBundle>({
    trustDomain: TRUST_DOMAIN,
    x509Authorities: [],
    jwtAuthorities: [
      { keyId: 'aa', publicKey: new Uint8Array() },
      { keyId: 'bb', publicKey: new Uint8Array() },
    ],
    sequence: 1,
  });
  const abort = new AbortController();
  const foreignBundles = new Watchable<ForeignBundles>(new Map());
  const tainted = new Watchable<ReadonlySet<string>>(new Set());
  const nothing: { hasSerial(serial: string): boolean; hasSpiffeId(id: string): boolean } = {
    hasSerial: () => false,
    hasSpiffeId: () => false,
  };
  const revocations = new Watchable(nothing);
  const tokens: JwtSvid[] = [];
  const audited: AuditEvent[] = [];
  const issuer = createIssuer(() => stage);
  const source = createIdentitySource({
    issuer,
    bundle,
    entries,
    foreignBundles,
    tainted,
    revocations,
    audit: { record: (event) => void audited.push(event) },
    clock,
    logger: silentLogger,
    random: () => 0.5,
  });
  const stage: Stage = {
    tokens,
    foreignBundles,
    tainted,
    audited,
    source,
    signer: 'aa',
    revoke: (...what) =>
      revocations.set({ hasSerial: (serial) => what.includes(serial), hasSpiffeId: (id) => what.includes(id) }),
    clock,
    entries,
    bundle,
    issued: [],
    states: [],
    failing: false,
    signing: Promise.resolve(),
    async stop() {
      abort.abort();
      await watching;
    },
  };
  const watching = (async () => {
    for await (const identity of source.watch(SELECTORS, abort.signal, { pid: 7 })) stage.states.push(identity);
  })();
  await clock.advance(0);
  return stage;
}

/** SPIFFE IDs of its SVIDs, in their order. */
export const ids = (identity: CallerIdentity | undefined): readonly string[] =>
  (identity?.svids ?? []).map(({ svid }) => svid.spiffeId);
