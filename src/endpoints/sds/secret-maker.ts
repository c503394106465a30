import { randomBytes } from 'node:crypto';
import type { PeerList, SecretContent } from '../../secrets/index.ts';
import type { TrustBundle, TrustDomain, X509Svid } from '../../spiffe/index.ts';
import type { ClosedContext } from './closed-context.ts';
import { encodeBundles, encodeContent, encodeSecret, encodeX509Svid } from './encode-secret.ts';
import type { EncodedResource } from '../../discovery/index.ts';
import { SharedSecrets } from './shared-secrets.ts';
import type { Validator } from './validation-context.ts';

/** A list of peers that somebody may be on. */
export type KnownPeers = Extract<PeerList, { readonly kind: 'known' }>;

/** Makes the secrets that streams share. */
export class SecretMaker {
  readonly #shared = new SharedSecrets();
  readonly #closedContext: ClosedContext;
  /** Versions are logged and shown, and by one without it a password could be tried. */
  readonly #salt = randomBytes(32);

  constructor(closedContext: ClosedContext) {
    this.#closedContext = closedContext;
  }

  svid(name: string, svid: X509Svid): EncodedResource {
    return this.#shared.get([svid], name, () => encodeX509Svid(name, svid));
  }

  /** @param bundles at least one, each with a root; `own` when it is one of them */
  context(
    name: string,
    bundles: { readonly all: readonly TrustBundle[]; readonly own: TrustBundle | undefined },
    { validator, list }: { readonly validator: Validator; readonly list: KnownPeers | undefined },
  ): EncodedResource {
    const parts = [...bundles.all, ...(list === undefined ? [] : [list])];
    return this.#shared.get(parts, `${validator} ${name}`, () =>
      encodeBundles(name, bundles, { validator, peers: list?.peers }),
    );
  }

  content(name: string, content: SecretContent, list: KnownPeers | undefined): EncodedResource {
    const parts = [content, ...(list === undefined ? [] : [list])];
    return this.#shared.get(parts, name, () => encodeContent(name, content, { peers: list?.peers, salt: this.#salt }));
  }

  /** Not shared: its name may be made up. */
  closed(
    name: string,
    trustDomains: readonly TrustDomain[],
    { kind, validator }: { readonly kind: 'bundle' | 'validation_context'; readonly validator: Validator },
  ): EncodedResource {
    return encodeSecret({ name, validationContext: this.#closedContext(trustDomains, validator) }, { kind });
  }
}
