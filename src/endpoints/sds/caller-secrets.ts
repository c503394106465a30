import { SvidgateError } from '../../core/index.ts';
import { withUniqueHints, type CallerIdentity } from '../../identity/index.ts';
import type { PeerLists } from '../../secrets/index.ts';
import { trustDomainId, type SpiffeId, type TrustBundle, type TrustDomain, type X509Svid } from '../../spiffe/index.ts';
import type { AskedSecret } from './asked-secret.ts';
import type { KnownPeers, SecretMaker } from './secret-maker.ts';
import type { SecretName } from './secret-names.ts';
import type { EncodedResource, ResourceState, ResourceView } from '../../discovery/index.ts';
import type { Validator } from './validation-context.ts';

const UNKNOWN: ResourceState = { kind: 'unknown' };
const PENDING: ResourceState = { kind: 'pending' };
const ready = (secret: EncodedResource): ResourceState => ({ kind: 'ready', resource: secret });

export interface CallerSecretsOptions {
  readonly identity: CallerIdentity;
  readonly validator: Validator;
  /** Whether the Envoy minds who is on a list of peers; all others would be let in, too. */
  readonly takesPeers: boolean;
  readonly peers: PeerLists;
  readonly maker: SecretMaker;
  /** What is known of a name that is asked for, or of any other. */
  readonly find: (name: string) => AskedSecret;
}

/** What all names stand for at one moment. Nothing is made that is not looked up. */
export class CallerSecrets implements ResourceView {
  readonly #options: CallerSecretsOptions;
  readonly isRegistered: boolean;
  readonly isPending: boolean;
  #svids: ReadonlyMap<SpiffeId, X509Svid> | undefined;
  #pending: ReadonlySet<SpiffeId> | undefined;
  #all: readonly EncodedResource[] | undefined;

  constructor(options: CallerSecretsOptions) {
    this.#options = options;
    const { svids, pending } = options.identity;
    this.isPending = pending.length > 0;
    this.isRegistered = svids.length > 0 || this.isPending;
  }

  lookup(text: string, isHeld: boolean): ResourceState {
    if (!this.isRegistered) return UNKNOWN;
    const asked = this.#options.find(text);
    const state = this.#stateOf(text, asked);
    if (state.kind !== 'unknown' || !isHeld) return state;
    const { name } = asked;
    if (name.kind === 'bundle') return this.#closed(text, asked, [name.trustDomain]);
    return name.kind === 'stored' && asked.isValidationContext() ? this.#closedRoots(text, asked) : UNKNOWN;
  }

  all(): readonly EncodedResource[] {
    if (!this.isRegistered) return [];
    return (this.#all ??= this.#makeAll());
  }

  #makeAll(): readonly EncodedResource[] {
    const { identity, maker, validator } = this.#options;
    const { bundle: own } = identity;
    const bundles = this.#bundles().map((bundle) =>
      maker.context(
        trustDomainId(bundle.trustDomain),
        { all: [bundle], own: bundle === own ? own : undefined },
        { validator, list: undefined },
      ),
    );
    // Of several entries with one SPIFFE ID the first counts: Envoy must see one secret for it.
    const svids = new Map<SpiffeId, X509Svid>();
    for (const { svid } of withUniqueHints(identity.svids))
      if (!svids.has(svid.spiffeId)) svids.set(svid.spiffeId, svid);
    return [...bundles, ...[...svids].map(([id, svid]) => maker.svid(id, svid))];
  }

  #stateOf(text: string, asked: AskedSecret): ResourceState {
    const { name } = asked;
    switch (name.kind) {
      case 'svid':
        return this.#svid(text, name.spiffeId);
      case 'default_svid':
        return this.#defaultSvid(text);
      case 'hint':
        return this.#hinted(text, name.hint);
      case 'own_bundle':
        return this.#ownBundle(text, asked, name.peers);
      case 'bundle':
        return this.#bundle(text, asked, name);
      case 'all_bundles':
        return this.#allBundles(text, asked, name.peers);
      case 'jwt_svid':
        return asked.jwtState(text);
      case 'stored':
        return this.#stored(text, asked, name);
      case 'unknown':
        return UNKNOWN;
    }
  }

  #svid(text: string, spiffeId: SpiffeId): ResourceState {
    const svid = this.#svidsById().get(spiffeId);
    if (svid !== undefined) return ready(this.#options.maker.svid(text, svid));
    return this.#pendingIds().has(spiffeId) ? PENDING : UNKNOWN;
  }

  /** Never another identity in the place of one that is to come. */
  #defaultSvid(text: string): ResourceState {
    const { svids, pending } = this.#options.identity;
    const [first] = svids;
    if (first === undefined || pending.some(({ isDefault }) => isDefault)) return PENDING;
    return ready(this.#options.maker.svid(text, first.svid));
  }

  #hinted(text: string, wanted: string): ResourceState {
    const { svids, pending } = this.#options.identity;
    if (pending.some(({ hint }) => hint === wanted)) return PENDING;
    const found = svids.find(({ hint }) => hint === wanted);
    return found === undefined ? UNKNOWN : ready(this.#options.maker.svid(text, found.svid));
  }

  #ownBundle(text: string, asked: AskedSecret, peers: string | undefined): ResourceState {
    const { bundle: own } = this.#options.identity;
    return this.#context(text, asked, { all: own.x509Authorities.length > 0 ? [own] : [], own, peers });
  }

  #bundle(text: string, asked: AskedSecret, name: Extract<SecretName, { readonly kind: 'bundle' }>): ResourceState {
    const { trustDomain, peers } = name;
    if (trustDomain === this.#options.identity.bundle.trustDomain) return this.#ownBundle(text, asked, peers);
    const bundle = this.#bundles().find((one) => one.trustDomain === trustDomain);
    return bundle === undefined ? UNKNOWN : this.#context(text, asked, { all: [bundle], own: undefined, peers });
  }

  #allBundles(text: string, asked: AskedSecret, peers: string | undefined): ResourceState {
    if (this.#options.validator === 'plain') {
      throw new SvidgateError('invalid_request', `${text} needs the SPIFFE certificate validator (Envoy 1.18)`);
    }
    const { bundle: own } = this.#options.identity;
    return this.#context(text, asked, { all: this.#bundles(), own, peers });
  }

  #context(
    text: string,
    asked: AskedSecret,
    bundles: {
      readonly all: readonly TrustBundle[];
      readonly own: TrustBundle | undefined;
      readonly peers: string | undefined;
    },
  ): ResourceState {
    const { maker, validator } = this.#options;
    const { all, own, peers } = bundles;
    if (all.length === 0) return PENDING;
    const list = this.#listOf(peers);
    if (list === 'pending') return PENDING;
    if (list === 'nobody') {
      const domains = all.map(({ trustDomain }) => trustDomain);
      return this.#closed(text, asked, domains);
    }
    return ready(maker.context(text, { all, own }, { validator, list }));
  }

  #stored(text: string, asked: AskedSecret, name: Extract<SecretName, { readonly kind: 'stored' }>): ResourceState {
    const { identity, maker } = this.#options;
    const ids = [
      ...identity.svids.map(({ svid }) => svid.spiffeId),
      ...identity.pending.map(({ spiffeId }) => spiffeId),
    ];
    if (asked.stored === undefined || !asked.allows(ids)) return UNKNOWN;
    const { content } = asked.stored;
    if (content === undefined) return PENDING;
    if (content.kind !== 'validation_context') {
      return name.peers === undefined ? ready(maker.content(text, content, undefined)) : UNKNOWN;
    }
    const list = this.#listOf(name.peers);
    if (list === 'pending') return PENDING;
    return list === 'nobody' ? this.#closedRoots(text, asked) : ready(maker.content(text, content, list));
  }

  #closed(text: string, asked: AskedSecret, trustDomains: readonly TrustDomain[]): ResourceState {
    const { maker, validator } = this.#options;
    const key = `${validator} ${trustDomains.join(' ')}`;
    return ready(asked.closed(key, () => maker.closed(text, trustDomains, { kind: 'bundle', validator })));
  }

  /** In the place of plain roots. */
  #closedRoots(text: string, asked: AskedSecret): ResourceState {
    const { maker, identity } = this.#options;
    const how = { kind: 'validation_context', validator: 'plain' } as const;
    return ready(asked.closed('', () => maker.closed(text, [identity.bundle.trustDomain], how)));
  }

  /** The list of this name; undefined where none is asked for. */
  #listOf(peers: string | undefined): KnownPeers | 'nobody' | 'pending' | undefined {
    if (peers === undefined) return undefined;
    if (!this.#options.takesPeers) return 'nobody';
    const list = this.#options.peers.get(peers);
    if (list === undefined) return 'nobody';
    if (list.kind === 'pending') return 'pending';
    return list.peers.length === 0 ? 'nobody' : list;
  }

  /** Those with a root, our own first: a foreign one without any is as good as absent. */
  #bundles(): readonly TrustBundle[] {
    const { bundle, foreignBundles } = this.#options.identity;
    return [bundle, ...foreignBundles].filter(({ x509Authorities }) => x509Authorities.length > 0);
  }

  /** The first of each SPIFFE ID, as in `all`; then those that `all` leaves out for their hint. */
  #svidsById(): ReadonlyMap<SpiffeId, X509Svid> {
    if (this.#svids !== undefined) return this.#svids;
    const { svids } = this.#options.identity;
    const byId = new Map<SpiffeId, X509Svid>();
    for (const { svid } of [...withUniqueHints(svids), ...svids]) {
      if (!byId.has(svid.spiffeId)) byId.set(svid.spiffeId, svid);
    }
    return (this.#svids = byId);
  }

  #pendingIds(): ReadonlySet<SpiffeId> {
    return (this.#pending ??= new Set(this.#options.identity.pending.map(({ spiffeId }) => spiffeId)));
  }
}
