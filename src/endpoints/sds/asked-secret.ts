import type { FollowedJwtSvid } from '../../identity/index.ts';
import type { FollowedSecret } from '../../secrets/index.ts';
import type { JwtSvid, SpiffeId } from '../../spiffe/index.ts';
import { encodeJwtSvid } from './encode-secret.ts';
import type { SecretName } from './secret-names.ts';
import type { EncodedResource, ResourceState } from '../../discovery/index.ts';

const FILE_ROOT = 'file-root:';

/** A name with what is followed for it, and what was made for it alone. */
export class AskedSecret implements Disposable {
  readonly name: SecretName;
  readonly stored: FollowedSecret | undefined;
  #wasAllowed = false;
  #jwt: { readonly spiffeId: SpiffeId; readonly followed: FollowedJwtSvid } | undefined;
  #madeJwt: { readonly svid: JwtSvid; readonly secret: EncodedResource } | undefined;
  #closed: { readonly key: string; readonly secret: EncodedResource } | undefined;

  constructor(name: SecretName, stored?: FollowedSecret) {
    this.name = name;
    this.stored = stored;
  }

  /** Follows the token of this identity from now on; undefined: of none. */
  followJwt(spiffeId: SpiffeId | undefined, follow: (spiffeId: SpiffeId) => FollowedJwtSvid): void {
    if (this.#jwt?.spiffeId === spiffeId) return;
    this.#jwt?.followed[Symbol.dispose]();
    this.#jwt = spiffeId === undefined ? undefined : { spiffeId, followed: follow(spiffeId) };
  }

  jwtState(text: string): ResourceState {
    const state = this.#jwt?.followed.state;
    if (state === undefined || state.kind === 'unknown' || this.name.kind !== 'jwt_svid') return { kind: 'unknown' };
    if (state.kind === 'pending' || state.svid.spiffeId !== this.#jwt?.spiffeId) return { kind: 'pending' };
    const { svid } = state;
    if (this.#madeJwt?.svid !== svid) this.#madeJwt = { svid, secret: encodeJwtSvid(text, this.name.prefix, svid) };
    return { kind: 'ready', resource: this.#madeJwt.secret };
  }

  /** Whether a holder of one of these SPIFFE IDs may have the stored secret. */
  allows(spiffeIds: readonly SpiffeId[]): boolean {
    const isAllowed = this.stored?.allows(spiffeIds) === true;
    this.#wasAllowed ||= isAllowed;
    return isAllowed;
  }

  /**
   * Whether what an Envoy holds under this name can only be a validation context. What kind a secret is learns nobody who
   * merely says that it holds it.
   */
  isValidationContext(): boolean {
    if (this.name.kind !== 'stored') return false;
    if (this.name.peers !== undefined || this.name.name.startsWith(FILE_ROOT)) return true;
    return this.#wasAllowed && this.stored?.content?.kind === 'validation_context';
  }

  /** The closed context of this name, made anew when the key is another one. */
  closed(key: string, make: () => EncodedResource): EncodedResource {
    if (this.#closed?.key !== key) this.#closed = { key, secret: make() };
    return this.#closed.secret;
  }

  [Symbol.dispose](): void {
    this.#jwt?.followed[Symbol.dispose]();
    this.#jwt = undefined;
    this.stored?.[Symbol.dispose]();
  }
}
