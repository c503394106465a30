import { Watchable, type ReadonlyWatchable } from '../../core/index.ts';
import type { ForeignBundles, JwtAuthority, TrustBundle, TrustDomain } from '../../spiffe/index.ts';
import type { AgentIdentities } from './agent-answers.ts';

type X509Part = Pick<AgentIdentities, 'x509Authorities' | 'foreignX509Authorities'>;
type JwtPart = ReadonlyMap<TrustDomain, readonly JwtAuthority[]>;

/** Puts bundles together from the two streams that each bring a half. What did not change stays the same object. */
export class AgentBundles {
  readonly #own: Watchable<TrustBundle>;
  readonly #foreign = new Watchable<ForeignBundles>(new Map());
  #x509: X509Part = { x509Authorities: [], foreignX509Authorities: new Map() };
  #jwt: JwtPart = new Map();

  constructor(trustDomain: TrustDomain) {
    this.#own = new Watchable<TrustBundle>({ trustDomain, x509Authorities: [], jwtAuthorities: [], sequence: 0 });
  }

  get own(): ReadonlyWatchable<TrustBundle> {
    return this.#own;
  }

  get foreign(): ReadonlyWatchable<ForeignBundles> {
    return this.#foreign;
  }

  setX509(part: X509Part): void {
    this.#x509 = part;
    this.#update();
  }

  setJwt(part: JwtPart): void {
    this.#jwt = part;
    this.#update();
  }

  #update(): void {
    const { trustDomain } = this.#own.value;
    this.#own.set(this.#renewed(this.#own.value, this.#x509.x509Authorities));
    const names = new Set([...this.#x509.foreignX509Authorities.keys(), ...this.#jwt.keys()]);
    names.delete(trustDomain);
    const before = this.#foreign.value;
    const bundles = [...names].sort().map((name) => {
      const found = before.get(name) ?? { trustDomain: name, x509Authorities: [], jwtAuthorities: [], sequence: 0 };
      return this.#renewed(found, this.#x509.foreignX509Authorities.get(name) ?? []);
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

function sameItems<T>(one: readonly T[], other: readonly T[], same: (a: T, b: T) => boolean): boolean {
  return one.length === other.length && one.every((item, index) => same(item, other[index] as T));
}

export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
