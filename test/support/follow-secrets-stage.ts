import { Watchable } from '../../src/core/index.ts';
import { createFollowSecrets, type SecretSettings } from '../../src/endpoints/sds/follow-secrets.ts';
import { UNKNOWN_NODE, type EnvoyNode } from '../../src/discovery/index.ts';
import type { EncodedResource, FollowedResources, ResourceState, ResourceView } from '../../src/discovery/index.ts';
import type { CallerIdentity, HeldSvid, IdentitySource } from '../../src/identity/index.ts';
import { decodeMessage, SanType, Secret, SpiffeCertValidatorConfig, unpackAny } from '../../src/proto/index.ts';
import type { PeerLists, SecretContent, SecretStore } from '../../src/secrets/index.ts';
import { matchesSpiffeId, parseSelector, parseSpiffeIdPattern, type SpiffeIdPattern } from '../../src/spiffe/index.ts';

const MAX_BYTES = 2 ** 22;

export const NAMES = { defaultSvidName: 'default', defaultBundleName: 'ROOTCA', defaultAllBundlesName: 'ALL' };
/** A node that wants plain roots. */
export const PLAIN_NODE: EnvoyNode = { ...UNKNOWN_NODE, disableSpiffeCertValidation: true };

/** Secrets by name that a test sets. */
export class MemorySecrets implements SecretStore {
  readonly #secrets = new Map<string, { readonly allow: readonly SpiffeIdPattern[]; content?: SecretContent }>();
  readonly #listeners = new Map<string, Set<() => void>>();

  set(name: string, allow: readonly string[], content?: SecretContent): void {
    this.#secrets.set(name, { allow: allow.map(parseSpiffeIdPattern), ...(content === undefined ? {} : { content }) });
    for (const listener of this.#listeners.get(name) ?? []) listener();
  }

  /** How many follow it. */
  followers(name: string): number {
    return this.#listeners.get(name)?.size ?? 0;
  }

  follow: SecretStore['follow'] = (name, onChange) => {
    if (!this.#secrets.has(name)) return undefined;
    const listener = (): void => onChange();
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    const secret = () => this.#secrets.get(name);
    return {
      allows: (ids) => {
        const held = [...ids];
        return secret()?.allow.some((pattern) => held.some((id) => matchesSpiffeId(pattern, id))) ?? false;
      },
      get content() {
        return secret()?.content;
      },
      [Symbol.dispose]: () => void listeners.delete(listener),
    };
  };

  async run(): Promise<void> {}
}

export interface FollowStage {
  readonly store: MemorySecrets;
  readonly peers: Watchable<PeerLists>;
  /** Another stream of the same process. */
  open(): FollowedResources<CallerIdentity>;
  /** How often streams were told of a change. */
  readonly changes: number;
}

export async function followStage(
  options: {
    readonly settings?: Partial<SecretSettings>;
    readonly followJwtSvid?: IdentitySource['followJwtSvid'];
  } = {},
): Promise<FollowStage> {
  const store = new MemorySecrets();
  const peers = new Watchable<PeerLists>(new Map());
  const follow = await createFollowSecrets({
    settings: { ...NAMES, disableSpiffeCertValidation: false, jwtSvids: [], ...options.settings },
    followJwtSvid:
      options.followJwtSvid ??
      (() => {
        throw new Error('no token is asked for here');
      }),
    store,
    peers,
  });
  const selectors = new Set([parseSelector('unix:uid:1')]);
  let changes = 0;
  return {
    store,
    peers,
    open: () => follow({ selectors, audit: { pid: 7, uid: 1, gid: 1 } }, () => (changes += 1)),
    get changes() {
      return changes;
    },
  };
}

/** The view of a stream that asks for these names. */
export function viewOf(
  stage: FollowStage,
  identity: CallerIdentity,
  { names = [], node = UNKNOWN_NODE }: { readonly names?: readonly string[]; readonly node?: EnvoyNode } = {},
): ResourceView {
  const followed = stage.open();
  followed.ask(new Set(names));
  return followed.view(identity, node);
}

/** Whom an identity is of, without pending SVIDs and foreign bundles. */
export function identityOf(bundle: CallerIdentity['bundle'], svids: readonly HeldSvid[]): CallerIdentity {
  return { svids, pending: [], bundle, foreignBundles: [] };
}

/** Throws when it is not ready. */
export function readySecret(state: ResourceState): EncodedResource {
  if (state.kind !== 'ready') throw new Error(`the secret is ${state.kind}`);
  return state.resource;
}

/** What an Envoy reads. */
export function secretIn(state: ResourceState): Secret {
  return decodeMessage(Secret, readySecret(state).bytes, MAX_BYTES);
}

/** The trust domains of the SPIFFE validator with their PEM; undefined for plain roots. */
export function trustDomainsIn(state: ResourceState): Readonly<Record<string, string>> | undefined {
  const config = secretIn(state).validationContext?.customValidatorConfig?.typedConfig;
  if (config === undefined || config === null) return undefined;
  const { trustDomains } = unpackAny(SpiffeCertValidatorConfig, config, MAX_BYTES);
  return Object.fromEntries(trustDomains.map(({ name, trustBundle }) => [name, textOf(trustBundle)]));
}

/** Whom a validation context lets in, as `exact TEXT` and `prefix TEXT`. */
export function matchersIn(state: ResourceState): readonly string[] {
  const matchers = secretIn(state).validationContext?.matchTypedSubjectAltNames ?? [];
  return matchers.map(({ sanType, matcher }) => {
    if (sanType !== SanType.URI) throw new Error(`a matcher of type ${sanType}`);
    return `${matcher?.matchPattern} ${matcher?.exact ?? matcher?.prefix}`;
  });
}

export function textOf(source: { readonly inlineBytes?: Uint8Array | null } | null | undefined): string {
  return Buffer.from(source?.inlineBytes ?? []).toString();
}
