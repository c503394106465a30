import type { Logger, Metrics } from '../../core/index.ts';
import type { CallerAllowance, CountedStream } from './caller-limits.ts';
import { DeltaSession } from './delta-session.ts';
import { readDeltaRequest, readSotwRequest, type RequestRules } from './discovery-request.ts';
import type { DiscoverySession, OutgoingMessage, Received } from './discovery-session.ts';
import { SotwSession, type SessionOptions } from './sotw-session.ts';
import type { FollowSecrets, SecretCaller } from './secret-view.ts';
import { StreamInput, type StreamEvent, type StreamSources } from './stream-input.ts';
import type { StreamBooks } from './stream-books.ts';

/** What all calls of an attested caller need. */
export interface CallerContext {
  readonly caller: SecretCaller;
  readonly follow: FollowSecrets;
  readonly allowance: CallerAllowance;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Throws `attestation_failed` when the process that was attested is gone. Asked before each answer. */
  readonly assertAlive: () => void;
}

export interface SecretStreamContext extends CallerContext {
  /** The books of this stream, for status and for the activation of new CAs. */
  readonly books: StreamBooks;
  readonly stream: Pick<CountedStream, 'hold'>;
}

/** A variant of xDS on one stream, as bytes. */
export interface StreamProtocol {
  readonly session: Pick<DiscoverySession<never>, 'node' | 'names' | 'look'>;
  /** Throws `invalid_request`, `too_large` or `overloaded`. */
  receive(request: Uint8Array): ReceivedMessage;
  /** How many names it keeps; what an Envoy claims to hold counts for a tenth: there is nothing but its name. */
  readonly held: number;
}

type ReceivedMessage = Received & {
  /** How many names it has. */
  readonly names: number;
};

export function sotwProtocol(options: SessionOptions, rules: RequestRules): StreamProtocol {
  const session = new SotwSession(options);
  return {
    session,
    receive(bytes) {
      const request = readSotwRequest(bytes, rules);
      return { ...session.receive(request), names: request.names.size };
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
      return { ...received, names: request.subscribe.size + request.unsubscribe.size + request.initialVersions.size };
    },
    get held() {
      return session.names.size + Math.ceil((claims ?? 0) / 10);
    },
  };
}

/** One stream of secrets for one attested caller: requests in, responses out, as bytes. */
export async function* streamSecrets(
  protocol: StreamProtocol,
  sources: StreamSources,
  context: SecretStreamContext,
): AsyncGenerator<Uint8Array, void, void> {
  const { session } = protocol;
  using input = new StreamInput(sources);
  using secrets = context.follow(context.caller, input.change);
  let { node, names } = session;
  let event: StreamEvent | undefined;
  while ((event = await input.next()) !== undefined) {
    if (event.request !== undefined) receive(protocol, event.request, context);
    if (names !== session.names) secrets.ask((names = session.names));
    const isChanged = event.isChanged || node !== session.node;
    if (node !== session.node) context.books.named((node = session.node));
    let isSent = false;
    // A request that came before the identity is answered when that is there. The newest one counts, in each round.
    for (let more = true; more && input.identity !== undefined;) {
      const look = session.look(secrets.view(input.identity, node), isChanged);
      ({ more } = look);
      if (look.unchanged.length > 0) context.books.unchanged(look.unchanged);
      if (look.message === undefined) continue;
      context.assertAlive();
      takeNote(look.message, session, context);
      yield look.message.encode();
      isSent = true;
    }
    if (isSent && event.changedAt !== undefined) {
      context.metrics.observe('svidgate_sds_push_seconds', {}, (performance.now() - event.changedAt) / 1000);
    }
  }
}

function receive(protocol: StreamProtocol, bytes: Uint8Array, context: SecretStreamContext): void {
  const { session } = protocol;
  const { allowance, books, logger, metrics, stream } = context;
  allowance.takeBytes(bytes.length);
  const { reply, isFree, released, names } = protocol.receive(bytes);
  if (!isFree) allowance.takeRequest(names);
  stream.hold(protocol.held);
  switch (reply?.kind) {
    case 'ack':
      books.acknowledged(reply.resources);
      break;
    case 'nack':
      metrics.count('svidgate_sds_nacks_total', {});
      books.refused(reply.resources, reply.reason);
      logger.warn(
        { node_id: session.node.id, resource_names: reply.resources.map(({ name }) => name), reason: reply.reason },
        'secrets refused by envoy',
      );
      break;
    case 'stale':
      logger.debug({ node_id: session.node.id }, 'stale nonce ignored');
      break;
    case undefined:
  }
  if (released.length > 0) books.released(released);
}

/** Of what is about to be sent. */
function takeNote(message: OutgoingMessage, session: StreamProtocol['session'], context: SecretStreamContext): void {
  const { nonce, version, sent, removed } = message;
  const { books, logger, metrics } = context;
  if (sent.length > 0) books.sent(sent);
  // What is still asked for, the Envoy holds on to.
  const released = removed.filter((name) => !session.names.has(name));
  if (released.length > 0) books.released(released);
  metrics.count('svidgate_sds_pushes_total', {});
  const node_id = session.node.id;
  const resource_names = sent.map(({ name }) => name);
  // A rotation of ten thousand streams is one line of the audit log, and not ten thousand of this one.
  if (sent.length > 0) logger.debug({ node_id, version, nonce, resource_names }, 'secrets pushed');
  if (removed.length > 0) logger.info({ node_id, nonce, resource_names: removed }, 'secrets removed');
}
