import { SvidgateError, untilAborted, type Clock } from '../../core/index.ts';
import type { CallerIdentity } from '../../identity/index.ts';
import { readSotwRequest } from './discovery-request.ts';
import { notAuthorized, WILDCARD } from './discovery-session.ts';
import { UNKNOWN_NODE } from './envoy-node.ts';
import { findSecrets, type SecretQuery } from './find-secrets.ts';
import type { CallerContext } from './secret-stream.ts';
import type { EncodedSecret, SecretView } from './secret-view.ts';
import { encodeSotwAnswer, versionOf } from './sotw-session.ts';
import { StreamInput } from './stream-input.ts';

export interface FetchContext extends CallerContext {
  readonly clock: Clock;
  /** The call's own; epoch milliseconds. */
  readonly deadline: number | undefined;
  /** Aborted when the call is over. */
  readonly signal: AbortSignal;
}

const NOTHING_HELD: ReadonlySet<string> = new Set();

/** For what is being issued. */
const MAX_WAIT_MS = 5000;

/** FetchSecrets: one answer, without a nonce. Waits a while for what is to come. */
export async function fetchSecrets(
  bytes: Uint8Array,
  identities: AsyncIterable<CallerIdentity>,
  context: FetchContext,
): Promise<Uint8Array> {
  context.allowance.takeBytes(bytes.length);
  const { names, node = UNKNOWN_NODE } = readSotwRequest(bytes, {
    names: context.allowance.names,
    isAggregated: false,
  });
  const asked = new Set([...names].filter((name) => name !== WILDCARD));
  context.allowance.takeRequest(asked.size);
  // It can wait for as long as a stream can be open.
  using stream = context.allowance.openStream();
  stream.hold(asked.size);
  const query = { names: [...asked].sort(), wildcard: asked.size < names.size || names.size === 0, held: NOTHING_HELD };
  using input = new StreamInput({ identities });
  using secrets = context.follow(context.caller, input.change);
  secrets.ask(asked);
  const patience = { isOver: false };
  void waitPatiently(context, () => {
    patience.isOver = true;
    input.change();
  });
  while ((await input.next()) !== undefined) {
    const found = input.identity && find(secrets.view(input.identity, node), query);
    if (found !== undefined) {
      context.assertAlive();
      context.metrics.count('svidgate_sds_pushes_total', {});
      return encodeSotwAnswer(found, versionOf(found), '');
    }
    if (patience.isOver) throw new SvidgateError('identity_pending', 'the identity cannot be issued at the moment');
  }
  throw new SvidgateError('canceled', 'the caller went away');
}

/** Undefined while something is to come. Throws `not_authorized` or `no_identity`. */
function find(view: SecretView, query: SecretQuery): readonly EncodedSecret[] | undefined {
  if (!view.isRegistered) throw notAuthorized(query.names);
  const { secrets, unknown, isPending } = findSecrets(view, query);
  if (unknown.length > 0) throw notAuthorized(unknown);
  if (isPending) return undefined;
  if (secrets.length === 0) throw notAuthorized([]);
  return secrets;
}

/** Ends before the call's own deadline, so that the caller is told why. */
async function waitPatiently({ clock, deadline = Infinity, signal }: FetchContext, onOver: () => void): Promise<void> {
  const ms = Math.min(MAX_WAIT_MS, Math.max(0, deadline - clock.now()) * 0.9);
  await untilAborted(signal, clock.sleep(ms, signal));
  onOver();
}
