import { SvidgateError, untilAborted } from '../core/index.ts';
import { readSotwRequest } from './discovery-request.ts';
import { notAuthorized, WILDCARD } from './discovery-session.ts';
import { encodeSotwAnswer } from './encode-answer.ts';
import { UNKNOWN_NODE } from './envoy-node.ts';
import { findResources, type ResourceQuery } from './find-resources.ts';
import type { CallerContext } from './resource-stream.ts';
import type { ResourceType } from './resource-type.ts';
import type { EncodedResource, ResourceView } from './resource-view.ts';
import { versionOf } from './sotw-session.ts';
import { StreamInput } from './stream-input.ts';

export interface FetchContext extends CallerContext {
  /** The call's own; epoch milliseconds. */
  readonly deadline: number | undefined;
  /** Aborted when the call is over. */
  readonly signal: AbortSignal;
}

const NOTHING_HELD: ReadonlySet<string> = new Set();

/** For what is being issued. */
const MAX_WAIT_MS = 5000;

/** A Fetch call: one answer, without a nonce. Waits a while for what is to come. */
export async function fetchResources<Subject>(
  bytes: Uint8Array,
  type: ResourceType<Subject>,
  context: FetchContext,
): Promise<Uint8Array> {
  context.allowance.takeBytes(bytes.length);
  const { names, node = UNKNOWN_NODE } = readSotwRequest(bytes, {
    typeUrl: type.typeUrl,
    names: context.allowance.names,
    isAggregated: false,
  });
  const asked = new Set([...names].filter((name) => name !== WILDCARD));
  context.allowance.takeRequest(asked.size);
  // It can wait for as long as a stream can be open.
  using stream = context.allowance.openStream();
  stream.hold(asked.size);
  const query = { names: [...asked].sort(), wildcard: asked.size < names.size || names.size === 0, held: NOTHING_HELD };
  using input = new StreamInput({ subjects: type.subjects(context.caller, context.signal) });
  const { followFetched: follow = type.follow } = type;
  using followed = follow(context.caller, input.change);
  followed.ask(asked);
  const patience = { isOver: false };
  void waitPatiently(context, () => {
    patience.isOver = true;
    input.change();
  });
  while ((await input.next()) !== undefined) {
    const found = input.subject && find(followed.view(input.subject.value, node), query);
    if (found !== undefined) {
      context.assertAlive();
      context.metrics.count(type.signals.pushes, {});
      return encodeSotwAnswer(found, versionOf(found), { typeUrl: type.typeUrl, nonce: '' });
    }
    if (patience.isOver) throw new SvidgateError('identity_pending', 'the identity cannot be issued at the moment');
  }
  throw new SvidgateError('canceled', 'the caller went away');
}

/** Undefined while something is to come. Throws `not_authorized` or `no_identity`. */
function find(view: ResourceView, query: ResourceQuery): readonly EncodedResource[] | undefined {
  if (!view.isRegistered) throw notAuthorized(query.names);
  const { resources, unknown, isPending } = findResources(view, query);
  if (unknown.length > 0) throw notAuthorized(unknown);
  if (isPending) return undefined;
  if (resources.length === 0) throw notAuthorized([]);
  return resources;
}

/** Ends before the call's own deadline, so that the caller is told why. */
async function waitPatiently({ clock, deadline = Infinity, signal }: FetchContext, onOver: () => void): Promise<void> {
  const ms = Math.min(MAX_WAIT_MS, Math.max(0, deadline - clock.now()) * 0.9);
  await untilAborted(signal, clock.sleep(ms, signal));
  onOver();
}
