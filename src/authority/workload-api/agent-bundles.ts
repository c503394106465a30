import { Watchable, type ReadonlyWatchable } from '../../core/index.ts';
import type { ForeignBundles, JwtAuthority, TrustBundle, TrustDomain } from '../../spiffe/index.ts';
import type { AgentIdentities, ReadBundles } from './agent-answers.ts';

type Bundles<Key> = ReadBundles<Key>['bundles'];

/**
 * Puts bundles together from the two streams that each bring a half. What did not change stays the same object; of a foreign
 * bundle that cannot be read, the half that was good last stays.
 */
export class AgentBundles {
  readonly #own: Watchable<TrustBundle>;
  readonly #foreign = new Watchable<ForeignBundles>(new Map());
  #ownX509: readonly Uint8Array[] = [];
  #foreignX509: Bundles<Uint8Array> = new Map();
  #jwt: Bundles<JwtAuthority> = new Map();

  constructor(trustDomain: TrustDomain) {
    this.#own = new Watchable<TrustBundle>({ trustDomain, x509Authorities: [], jwtAuthorities: [], sequence: 0 });
  }

  get own(): ReadonlyWatchable<TrustBundle> {
    return this.#own;
  }

  get foreign(): ReadonlyWatchable<ForeignBundles> {
    return this.#foreign;
  }

  setX509({ x509Authorities, foreign }: Pick<AgentIdentities, 'x509Authorities' | 'foreign'>): void {
    this.#ownX509 = x509Authorities;
    this.#foreignX509 = withLastGood(foreign, this.#foreignX509);
    this.#update();
  }

  setJwt(read: ReadBundles<JwtAuthority>): void {
    this.#jwt = withLastGood(read, this.#jwt);
    this.#update();
  }

  #update(): void {
    const { trustDomain } = this.#own.value;
    this.#own.set(this.#renewed(this.#own.value, this.#ownX509));
    const names = new Set([...this.#foreignX509.keys(), ...this.#jwt.keys()]);
    names.delete(trustDomain);
    const before = this.#foreign.value;
    const bundles = [...names].sort().map((name) => {
      const found = before.get(name) ?? { trustDomain: name, x509Authorities: [], jwtAuthorities: [], sequence: 0 };
      return this.#renewed(found, this.#foreignX509.get(name) ?? []);
    });
    const isSame = bundles.length === before.size && bundles.every((one) => before.get(one.trustDomain) === one);
    if (!isSame) this.#foreign.set(new Map(bundles.map((one) => [one.trustDomain, one])));
  }

  #renewed(bundle: TrustBundle, x509Authorities: readonly Uint8Array[]): TrustBundle {
    const jwtAuthorities = this.#jwt.get(bundle.trustDomain) ?? [];
    const isSame =
      sameItems(bundle.x509Authorities, x509Authorities, sameBytes) &&
      sameItems(bundle.jwtAuthorities, jwtAuthorities, (one, other) => {
        return one.keyId === other.keyId && sameBytes(one.publicKey, other.publicKey);
      });
    return isSame ? bundle : { ...bundle, x509Authorities, jwtAuthorities, sequence: bundle.sequence + 1 };
  }
}

function withLastGood<Key>({ bundles, unreadable }: ReadBundles<Key>, before: Bundles<Key>): Bundles<Key> {
  const kept = [...before].filter(([name]) => unreadable.has(name) && !bundles.has(name));
  return new Map([...bundles, ...kept]);
}

function sameItems<T>(one: readonly T[], other: readonly T[], same: (a: T, b: T) => boolean): boolean {
  return one.length === other.length && one.every((item, index) => same(item, other[index] as T));
}

export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
