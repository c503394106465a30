import type { EncodedResource } from '../../discovery/index.ts';

interface Branch {
  readonly next: WeakMap<object, Branch>;
  readonly secrets: Map<string, EncodedResource>;
}

const newBranch = (): Branch => ({ next: new WeakMap(), secrets: new Map() });

/**
 * Encoded secrets by the objects that they are made of, for as long as these live: all streams that hold the same bundle
 * or SVID share one secret. Keys must be few for each object: what a caller makes up is no key.
 */
export class SharedSecrets {
  readonly #root = newBranch();

  get(parts: readonly object[], key: string, make: () => EncodedResource): EncodedResource {
    let branch = this.#root;
    for (const part of parts) {
      let next = branch.next.get(part);
      if (next === undefined) branch.next.set(part, (next = newBranch()));
      branch = next;
    }
    let secret = branch.secrets.get(key);
    if (secret === undefined) branch.secrets.set(key, (secret = make()));
    return secret;
  }
}
