import { createHash } from 'node:crypto';
import { SvidgateError } from '../../core/index.ts';
import type { CallerIdentity } from '../../identity/index.ts';

/**
 * One answer at once, or `identity_pending`, then one for each change of its bytes. While the caller does not read, nothing is taken from
 * `identities`, and the next answer is the newest. Throws `no_identity` as soon as the caller has none, and what
 * `assertAlive` throws.
 */
export async function* streamAnswers(
  identities: AsyncIterable<CallerIdentity>,
  encode: (identity: CallerIdentity) => Uint8Array | undefined,
  assertAlive: () => void,
): AsyncGenerator<Uint8Array, void, void> {
  let last: string | undefined;
  for await (const identity of identities) {
    if (identity.svids.length === 0 && identity.pending.length === 0) throw noIdentity();
    const answer = encode(identity);
    if (answer === undefined) {
      if (last !== undefined) continue; // what the caller holds is the best that there is
      throw new SvidgateError('identity_pending', 'the identity cannot be issued at the moment');
    }
    // A hash, so that no key is kept for as long as the stream is open.
    const digest = createHash('sha256').update(answer).digest('base64');
    if (digest === last) continue;
    assertAlive();
    yield answer;
    last = digest;
  }
}

export function noIdentity(): SvidgateError {
  return new SvidgateError('no_identity', 'no identity issued');
}
