import { randomBytes } from 'node:crypto';
import { merge, newest, SvidgateError, type Logger, type Metrics } from '../../core/index.ts';
import type { CallerIdentity } from '../../identity/index.ts';
import { DiscoveryResponse, encodeMessage, SECRET_TYPE_URL } from '../../proto/index.ts';
import type { TrustBundle } from '../../spiffe/index.ts';
import { readDiscoveryRequest } from './discovery-request.ts';
import { usesSpiffeValidator, type EnvoyNode } from './envoy-node.ts';
import { resolveNames, showNames, type NamedSecret, type SdsAliases } from './resource-names.ts';
import { encodeSecrets, type EncodedSecrets } from './secrets.ts';
import type { AnswerContent, StreamRecord } from './stream-table.ts';
import { Subscription } from './subscription.ts';

export interface SdsSettings extends SdsAliases {
  readonly disableSpiffeCertValidation: boolean;
  /** What a name that the caller has no right to does: end the stream, or wait until it has. */
  readonly unknownName: 'error' | 'wait';
}

export interface SecretStreamContext {
  readonly settings: SdsSettings;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** The books of this stream, for status and for the activation of new CAs. */
  readonly record: StreamRecord;
  /** Throws `attestation_failed` when the process that was attested is gone. Asked before each answer. */
  readonly assertAlive: () => void;
}

type StreamEvent = { readonly kind: 'request'; readonly bytes: Uint8Array } | { readonly kind: 'identity' };

/** StreamSecrets for one attested caller: DiscoveryRequests in, DiscoveryResponses out, as bytes. */
export async function* streamSecrets(
  requests: AsyncIterable<Uint8Array>,
  identities: AsyncIterable<CallerIdentity>,
  context: SecretStreamContext,
): AsyncGenerator<Uint8Array, void, void> {
  const subscription = new Subscription();
  const held: { identity?: CallerIdentity } = {};
  // While the Envoy does not read, or a request is answered, what it holds may be taken away.
  const changes = newest(identities, (identity) => (held.identity = identity));
  for await (const event of merge<StreamEvent>([asRequests(requests), asChanges(changes)])) {
    const asked = event.kind === 'request' && receive(subscription, event.bytes, context);
    const { identity } = held;
    // A request that came before the identity is answered when that is there.
    if (identity === undefined || subscription.names === undefined) continue;
    const answer = buildAnswer(subscription, identity, context.settings);
    if (answer === undefined) continue;
    const sends = asked || subscription.isNews(answer);
    if (sends) context.assertAlive();
    context.record.holds(answer, sends);
    if (sends) yield send(subscription, answer, context);
  }
}

/** FetchSecrets: one answer, without a nonce. */
export async function fetchSecrets(
  request: Uint8Array,
  identities: AsyncIterable<CallerIdentity>,
  context: Omit<SecretStreamContext, 'record'>,
): Promise<Uint8Array> {
  const { names, node } = readDiscoveryRequest(request);
  const spiffeValidator = usesSpiffeValidator(
    node ?? new Subscription().node,
    context.settings.disableSpiffeCertValidation,
  );
  for await (const identity of identities) {
    const resolved = resolveNames(names, identity, context.settings);
    if (resolved.unknown.length > 0) throw notAuthorized(resolved.unknown);
    if (resolved.isPending) throw new SvidgateError('identity_pending', 'the identity cannot be issued at the moment');
    if (resolved.secrets.length === 0) throw notAuthorized([]);
    const { resources, version } = encodeSecrets(resolved.secrets, spiffeValidator);
    context.assertAlive();
    context.metrics.count('svidgate_sds_pushes_total', {});
    return encodeMessage(DiscoveryResponse, { versionInfo: version, resources, typeUrl: SECRET_TYPE_URL });
  }
  throw new SvidgateError('canceled', 'the caller went away');
}

/** Takes a request in; true when it must be answered whatever the content. */
function receive(subscription: Subscription, bytes: Uint8Array, context: SecretStreamContext): boolean {
  const request = readDiscoveryRequest(bytes);
  const acknowledges = subscription.isAcknowledgement(request);
  const outcome = subscription.receive(request);
  if (request.node !== undefined) context.record.named(request.node);
  if (acknowledges) context.record.acknowledged();
  const fields = { node_id: subscription.node.id, version: request.versionInfo, nonce: request.responseNonce };
  switch (outcome.kind) {
    case 'answer':
      return true;
    case 'ack':
      context.logger.debug(fields, 'secrets acknowledged');
      return false;
    case 'nack':
      context.metrics.count('svidgate_sds_nacks_total', {});
      context.record.refused(outcome.refusal);
      context.logger.warn({ ...fields, reason: outcome.refusal }, 'secrets refused by envoy');
      return outcome.answer;
    case 'stale':
      context.logger.debug(fields, 'stale nonce ignored');
      return false;
  }
}

interface BuiltAnswer extends EncodedSecrets, AnswerContent {
  readonly version: string;
}

/** What the names stand for now, or undefined when there is nothing to say yet. Throws `not_authorized` or `no_identity`. */
function buildAnswer(
  subscription: Subscription,
  identity: CallerIdentity,
  settings: SdsSettings,
): BuiltAnswer | undefined {
  const { secrets, unknown, isPending } = resolveNames(subscription.names ?? new Set(), identity, settings);
  const isNothing = secrets.length === 0 && !isPending;
  if (settings.unknownName === 'error' && (unknown.length > 0 || isNothing)) throw notAuthorized(unknown);
  if (secrets.length === 0) return undefined;
  const spiffeValidator = validatorFor(subscription.node, settings);
  return { ...encodeSecrets(secrets, spiffeValidator), ...contentOf(secrets, identity.bundle) };
}

function contentOf(secrets: readonly NamedSecret[], own: TrustBundle): Omit<AnswerContent, 'version'> {
  const svids = secrets.flatMap((secret) => (secret.kind === 'svid' ? secret.svid : []));
  const holdsOwn = secrets.some(
    (secret) => secret.kind === 'all-bundles' || (secret.kind === 'bundle' && secret.bundle === own),
  );
  return {
    names: secrets.map((secret) => secret.name),
    spiffeIds: [...new Set(svids.map((svid) => svid.spiffeId))],
    expiresAt: svids.length === 0 ? undefined : Math.min(...svids.map((svid) => svid.notAfter)),
    bundleSequence: holdsOwn ? own.sequence : undefined,
  };
}

function validatorFor(node: EnvoyNode, settings: SdsSettings): boolean {
  return usesSpiffeValidator(node, settings.disableSpiffeCertValidation);
}

function send(subscription: Subscription, answer: BuiltAnswer, context: SecretStreamContext): Uint8Array {
  const nonce = randomBytes(4).toString('hex');
  subscription.sent(answer, nonce);
  context.metrics.count('svidgate_sds_pushes_total', {});
  context.logger.info(
    { node_id: subscription.node.id, version: answer.version, nonce, resource_names: answer.names },
    'secrets pushed',
  );
  return encodeMessage(DiscoveryResponse, {
    versionInfo: answer.version,
    resources: answer.resources,
    typeUrl: SECRET_TYPE_URL,
    nonce,
  });
}

function notAuthorized(unknown: readonly string[]): SvidgateError {
  if (unknown.length === 0) return new SvidgateError('no_identity', 'no identity issued');
  return new SvidgateError(
    'not_authorized',
    `workload is not authorized for the requested identities ${showNames(unknown)}`,
  );
}

async function* asRequests(source: AsyncIterable<Uint8Array>): AsyncGenerator<StreamEvent, void, void> {
  for await (const bytes of source) yield { kind: 'request', bytes };
}

async function* asChanges(source: AsyncIterable<undefined>): AsyncGenerator<StreamEvent, void, void> {
  for await (const _ of source) yield { kind: 'identity' };
}
