import type { Clock, Logger, Metrics } from '../core/index.ts';
import type { CallerAllowance, CountedStream } from './caller-limits.ts';
import { DeltaSession } from './delta-session.ts';
import { readDeltaRequest, readSotwRequest, type RequestRules } from './discovery-request.ts';
import type { DiscoverySession, OutgoingMessage, Received } from './discovery-session.ts';
import { UNKNOWN_NODE } from './envoy-node.ts';
import { LeaseTimer } from './lease-timer.ts';
import { Leases } from './leases.ts';
import type { ResourceSignals, ResourceType } from './resource-type.ts';
import type { DiscoveryCaller, FollowedResources } from './resource-view.ts';
import type { SendTurns } from './send-turns.ts';
import { SotwSession, type SessionOptions } from './sotw-session.ts';
import type { StreamBooks } from './stream-books.ts';
import { StreamInput, type StreamEvent, type StreamSources } from './stream-input.ts';

/** What all calls of an attested caller need. */
export interface CallerContext {
  readonly caller: DiscoveryCaller;
  readonly allowance: CallerAllowance;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Throws `attestation_failed` when the process that was attested is gone. Asked before each answer. */
  readonly assertAlive: () => void;
}

export interface StreamContext extends CallerContext {
  /** The books of this stream, for status and for the activation of new CAs. */
  readonly books: StreamBooks;
  readonly stream: Pick<CountedStream, 'hold'>;
  /** Shared by all streams. */
  readonly turns: SendTurns;
  /** Monotonic milliseconds. */
  readonly monotonicNow: () => number;
}

/** A variant of xDS on one stream, as bytes. */
export interface StreamProtocol {
  readonly session: Pick<DiscoverySession<never>, 'node' | 'names' | 'look' | 'renew' | 'repeat'>;
  /** Throws `invalid_request`, `too_large` or `overloaded`. */
  receive(request: Uint8Array): ReceivedMessage;
  /** How many names it keeps; what an Envoy claims to hold counts for a tenth: there is nothing but its name. */
  readonly held: number;
}

type ReceivedMessage = Received & {
  /** How many names it has. */
  readonly names: number;
  /** Of the answer that it replies to. */
  readonly nonce: string;
};

export function sotwProtocol(options: SessionOptions, rules: RequestRules): StreamProtocol {
  const session = new SotwSession(options);
  return {
    session,
    receive(bytes) {
      const request = readSotwRequest(bytes, rules);
      return { ...session.receive(request), names: request.names.size, nonce: request.responseNonce };
    },
    get held() {
      return session.names.size;
    },
  };
}

export function deltaProtocol(options: SessionOptions, rules: RequestRules): StreamProtocol {
  const session = new DeltaSession(options);
  let claims: number | undefined;
  return {
    session,
    receive(bytes) {
      const request = readDeltaRequest(bytes, rules);
      const received = session.receive(request);
      if (received.asks) rules.names.check(session.tally);
      claims ??= request.initialVersions.size;
      const names = request.subscribe.size + request.unsubscribe.size + request.initialVersions.size;
      return { ...received, names, nonce: request.responseNonce };
    },
    get held() {
      return session.names.size + Math.ceil((claims ?? 0) / 10);
    },
  };
}

/** One stream, or one type of resources on a stream, for one attested caller: requests in, responses out, as bytes. */
export async function* streamResources<Subject>(
  protocol: StreamProtocol,
  { type, ...sources }: StreamSources<Subject> & { readonly type: ResourceType<Subject> },
  context: StreamContext,
): AsyncGenerator<Uint8Array, void, void> {
  const { session } = protocol;
  using input = new StreamInput(sources);
  using followed = type.follow(context.caller, input.change);
  using timer = new LeaseTimer(context.clock, input.timeUp);
  const lane: Lane = { ...context, session, followed, signals: type.signals, leases: new Leases() };
  const { books, metrics, monotonicNow, turns } = context;
  // What is named already, the books learn at once.
  let node = UNKNOWN_NODE;
  let { names } = session;
  let event: StreamEvent | undefined;
  while ((event = await input.next()) !== undefined) {
    if (event.request !== undefined) receive(protocol, event.request, lane);
    if (names !== session.names) followed.ask((names = session.names));
    const isChanged = event.isChanged || node !== session.node;
    if (node !== session.node) books.named((node = session.node));
    let isSent = false;
    // A request that came before the subject is answered when that is there. The newest one counts, in each round.
    for (let more = true; more && input.subject !== undefined;) {
      while (turns.isOver) await turns.next();
      const look = session.look(followed.view(input.subject.value, node), isChanged);
      ({ more } = look);
      if (look.unchanged.length > 0) books.unchanged(look.unchanged);
      if (look.message === undefined) continue;
      context.assertAlive();
      takeNote(look.message, lane);
      const answer = look.message.encode();
      turns.took(answer.byteLength);
      yield answer;
      isSent = true;
    }
    if (isSent && event.changedAt !== undefined) {
      metrics.observe(type.signals.pushSeconds, {}, (performance.now() - event.changedAt) / 1000);
    }
    while (turns.isOver) await turns.next();
    // What changed meanwhile comes first: a lease must not be renewed after a revocation.
    const renewal = input.isChanged ? undefined : dueRenewal(lane);
    if (renewal !== undefined) yield renewal;
    timer.set(lane.leases.dueAt, monotonicNow());
  }
}

/** One type of resources on a stream. */
interface Lane extends StreamContext {
  readonly session: StreamProtocol['session'];
  readonly followed: Pick<FollowedResources<never>, 'refused'>;
  readonly signals: ResourceSignals;
  readonly leases: Leases;
}

/** An Envoy whose process has ended is renewed nothing, as it is sent nothing. */
function dueRenewal({ session, leases, monotonicNow, assertAlive, turns }: Lane): Uint8Array | undefined {
  const now = monotonicNow();
  if (leases.dueAt === undefined || leases.dueAt > now) return undefined;
  const { resources } = leases;
  const message = session.renew(resources);
  if (message === undefined) return leases.postponed(now);
  assertAlive();
  leases.sent(message, resources, now);
  const renewal = message.encode();
  turns.took(renewal.byteLength);
  return renewal;
}

function receive(protocol: StreamProtocol, bytes: Uint8Array, lane: Lane): void {
  const { allowance, books, leases, logger, metrics, session, signals, stream } = lane;
  allowance.takeBytes(bytes.length);
  const { reply, isFree, released, names, nonce } = protocol.receive(bytes);
  if (!isFree) allowance.takeRequest(names);
  stream.hold(protocol.held);
  switch (reply?.kind) {
    case 'ack':
      books.acknowledged(reply.resources);
      session.repeat(leases.acknowledged(nonce, lane.monotonicNow()));
      break;
    case 'nack': {
      const lost = leases.refused(nonce);
      if (lost !== undefined) {
        session.repeat(lost);
        break;
      }
      metrics.count(signals.nacks, {});
      books.refused(reply.resources, reply.reason);
      lane.followed.refused?.(reply.resources);
      logger.warn(
        { node_id: session.node.id, resource_names: reply.resources.map(({ name }) => name), reason: reply.reason },
        signals.refusedMessage,
      );
      break;
    }
    case 'stale':
      logger.debug({ node_id: session.node.id }, 'stale nonce ignored');
      break;
    case undefined:
  }
  if (released.length === 0) return;
  books.released(released);
  leases.released(released);
}

/** Of what is about to be sent. */
function takeNote(message: OutgoingMessage, lane: Lane): void {
  const { nonce, version, sent, removed } = message;
  const { books, leases, logger, metrics, session, signals } = lane;
  if (sent.length > 0) books.sent(sent);
  // What is still asked for, the Envoy holds on to.
  const released = removed.filter((name) => !session.names.has(name));
  if (released.length > 0) books.released(released);
  leases.sent(message, [], lane.monotonicNow());
  metrics.count(signals.pushes, {});
  const node_id = session.node.id;
  const resource_names = sent.map(({ name }) => name);
  // A rotation of ten thousand streams is one line of the audit log, and not ten thousand of this one.
  if (sent.length > 0) logger.debug({ node_id, version, nonce, resource_names }, signals.pushedMessage);
  if (removed.length > 0) logger.info({ node_id, nonce, resource_names: removed }, signals.removedMessage);
}
