import { createHash } from 'node:crypto';
import type { EncodedResource, ResourceFacts, ResourceState, ResourceView } from '../../src/discovery/index.ts';
import { encodeMessage, Secret } from '../../src/proto/index.ts';

/** A secret with some content that can be read again. */
export function makeSecret(name: string, content: string, facts: ResourceFacts = { kind: 'generic' }): EncodedResource {
  const bytes = encodeMessage(Secret, { name, genericSecret: { secret: { inlineString: content } } });
  return { name, version: createHash('sha256').update(bytes).digest('hex').slice(0, 16), bytes, facts };
}

/** What a test says that names stand for: content, or PENDING. Other names are unknown. */
export type Stock = ReadonlyMap<string, string>;

export const PENDING = 'pending';

/** A view of a stock. `wild` names what is meant by asking for no name. */
export function viewOf(
  stock: Stock,
  options: { readonly isRegistered?: boolean; readonly wild?: readonly string[]; readonly closed?: string } = {},
): ResourceView {
  const { isRegistered = true, wild = [...stock.keys()], closed } = options;
  const stateOf = (name: string): ResourceState => {
    const content = isRegistered ? stock.get(name) : undefined;
    if (content === undefined) return { kind: 'unknown' };
    return content === PENDING ? { kind: 'pending' } : { kind: 'ready', resource: makeSecret(name, content) };
  };
  return {
    isRegistered,
    lookup(name, isHeld) {
      const state = stateOf(name);
      if (state.kind !== 'unknown' || !isRegistered || !isHeld || name !== closed) return state;
      return { kind: 'ready', resource: makeSecret(name, 'closed') };
    },
    all: () =>
      wild.flatMap((name) => {
        const state = stateOf(name);
        return state.kind === 'ready' ? state.resource : [];
      }),
    isPending: wild.some((name) => stock.get(name) === PENDING),
  };
}
