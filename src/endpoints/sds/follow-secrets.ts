import { systemClock, type Clock, type ReadonlyWatchable } from '../../core/index.ts';
import type {
  DiscoveryCaller,
  EnvoyNode,
  FollowedResources,
  FollowResources,
  ResourceView,
} from '../../discovery/index.ts';
import type { CallerIdentity, IdentitySource } from '../../identity/index.ts';
import type { PeerLists, SecretStore } from '../../secrets/index.ts';
import { matchesSpiffeId, type SpiffeId, type SpiffeIdPattern } from '../../spiffe/index.ts';
import { AskedSecret } from './asked-secret.ts';
import { CallerSecrets } from './caller-secrets.ts';
import { createClosedContext } from './closed-context.ts';
import { takesPeerMatchers, usesSpiffeValidator } from './envoy-abilities.ts';
import { SecretMaker } from './secret-maker.ts';
import { parseSecretName, type JwtSecretName, type SdsAliases } from './secret-names.ts';

export interface SecretSettings extends SdsAliases {
  /** Gives plain trusted CAs, without the SPIFFE certificate validator. */
  readonly disableSpiffeCertValidation: boolean;
  /** Who may have JWT-SVIDs as generic secrets, and for whom; nobody when empty. */
  readonly jwtSvids: readonly {
    readonly allow: readonly SpiffeIdPattern[];
    readonly audiences: readonly string[];
  }[];
}

export interface FollowSecretsOptions {
  readonly settings: SecretSettings;
  readonly followJwtSvid: IdentitySource['followJwtSvid'];
  readonly store: SecretStore;
  readonly peers: ReadonlyWatchable<PeerLists>;
  /** For the validity of the root that nobody has the key of. */
  readonly clock?: Clock;
}

/** What names stand for, for all streams of the process: they share what is encoded. */
export async function createFollowSecrets(options: FollowSecretsOptions): Promise<FollowResources<CallerIdentity>> {
  const { clock = systemClock } = options;
  const maker = new SecretMaker(await createClosedContext(clock.now()));
  return (caller, onChange) => new StreamSecrets({ ...options, maker, caller, onChange });
}

interface StreamSecretsOptions extends FollowSecretsOptions {
  readonly maker: SecretMaker;
  readonly caller: DiscoveryCaller;
  readonly onChange: () => void;
}

class StreamSecrets implements FollowedResources<CallerIdentity> {
  readonly #options: StreamSecretsOptions;
  readonly #asked = new Map<string, AskedSecret>();
  #peers: PeerLists;
  #unsubscribe: (() => void) | undefined;
  #isClosed = false;

  constructor(options: StreamSecretsOptions) {
    this.#options = options;
    this.#peers = options.peers.value;
  }

  ask(names: ReadonlySet<string>): void {
    if (this.#isClosed) return;
    for (const [name, asked] of this.#asked) {
      if (names.has(name)) continue;
      this.#asked.delete(name);
      asked[Symbol.dispose]();
    }
    for (const name of names) if (!this.#asked.has(name)) this.#asked.set(name, this.#follow(name));
    this.#followPeers();
  }

  view(identity: CallerIdentity, node: EnvoyNode): ResourceView {
    const { settings, maker, peers } = this.#options;
    return new CallerSecrets({
      identity,
      validator: usesSpiffeValidator(node, settings.disableSpiffeCertValidation) ? 'spiffe' : 'plain',
      takesPeers: takesPeerMatchers(node),
      peers: peers.value,
      maker,
      find: (name) => this.#find(name, identity),
    });
  }

  [Symbol.dispose](): void {
    this.ask(new Set());
    this.#isClosed = true;
  }

  #follow(text: string): AskedSecret {
    const { settings, store, onChange } = this.#options;
    const name = parseSecretName(text, settings);
    return new AskedSecret(name, name.kind === 'stored' ? store.follow(name.name, onChange) : undefined);
  }

  /** Of ten thousand streams few ask for lists of peers: only these are told. */
  #followPeers(): void {
    const isAsked = [...this.#asked.values()].some(({ name }) => peersOf(name) !== undefined);
    if (!isAsked) {
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
    } else if (this.#unsubscribe === undefined) {
      const { peers } = this.#options;
      this.#peers = peers.value;
      this.#unsubscribe = peers.subscribe((lists) => this.#peersChanged(lists));
    }
  }

  #peersChanged(lists: PeerLists): void {
    const before = this.#peers;
    this.#peers = lists;
    for (const { name } of this.#asked.values()) {
      const list = peersOf(name);
      if (list !== undefined && before.get(list) !== lists.get(list)) return this.#options.onChange();
    }
  }

  /** Of a name that is not asked for nothing is followed. */
  #find(text: string, identity: CallerIdentity): AskedSecret {
    const asked = this.#asked.get(text);
    if (asked === undefined) return new AskedSecret(parseSecretName(text, this.#options.settings));
    if (asked.name.kind === 'jwt_svid') this.#followToken(asked, asked.name, identity);
    return asked;
  }

  /** Here, since who may have it depends on the identity: nothing is issued that is not shown. */
  #followToken(asked: AskedSecret, name: JwtSecretName, identity: CallerIdentity): void {
    const { followJwtSvid, caller, onChange } = this.#options;
    // However often and in whatever order they are named: one token, and so one signature (RFC 7519 §4.1.3).
    const audience = [...new Set(name.audience)].sort();
    asked.followJwt(this.#tokenIdentity(name, identity), (spiffeId) =>
      followJwtSvid(caller.selectors, { spiffeId, audience, caller: caller.audit }, onChange),
    );
  }

  /** An identity that the caller holds, and that a rule lets have a token for all these audiences. */
  #tokenIdentity({ spiffeId, audience }: JwtSecretName, { svids, pending }: CallerIdentity): SpiffeId | undefined {
    const defaultId = pending.find(({ isDefault }) => isDefault)?.spiffeId ?? svids[0]?.svid.spiffeId;
    const wanted = spiffeId ?? defaultId;
    const isHeld = svids.some(({ svid }) => svid.spiffeId === wanted) || pending.some((one) => one.spiffeId === wanted);
    const isAllowed = this.#options.settings.jwtSvids.some(
      ({ allow, audiences }) =>
        wanted !== undefined &&
        allow.some((pattern) => matchesSpiffeId(pattern, wanted)) &&
        audience.every((one) => audiences.includes(one)),
    );
    return isHeld && isAllowed ? wanted : undefined;
  }
}

function peersOf(name: AskedSecret['name']): string | undefined {
  return 'peers' in name ? name.peers : undefined;
}
