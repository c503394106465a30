import { createHash } from 'node:crypto';
import {
  EMPTY_MESSAGE,
  notAuthorized,
  NOTHING_TO_SEND,
  WILDCARD,
  type DiscoverySession,
  type Look,
  type OutgoingMessage,
  type Received,
  type Reply,
  type UnknownName,
} from './discovery-session.ts';
import { encodeSotwAnswer, type LeasedResource } from './encode-answer.ts';
import { UNKNOWN_NODE, type EnvoyNode, type StreamNode } from './envoy-node.ts';
import { findResources, type FoundResources } from './find-resources.ts';
import type { EncodedResource, ResourceView } from './resource-view.ts';

/** A DiscoveryRequest as the protocol sees it. */
export interface SotwRequest {
  /** Without the empty name. */
  readonly names: ReadonlySet<string>;
  readonly versionInfo: string;
  readonly responseNonce: string;
  /** The text of error_detail, or undefined when there is none. */
  readonly refusal: string | undefined;
  /** The node, when this message carries one. */
  readonly node: EnvoyNode | undefined;
}

export interface SessionOptions {
  readonly typeUrl: string;
  readonly unknownName: UnknownName;
  /** Whether several subscriptions of one Envoy share the stream (ADS). */
  readonly isAggregated: boolean;
  /** Never gives the same twice. */
  readonly nextNonce: () => string;
  /** Of the whole stream, where several sessions share it; default: of this session alone. */
  readonly streamNode?: StreamNode;
}

interface SentAnswer {
  readonly version: string;
  readonly nonce: string;
  readonly versions: ReadonlyMap<string, string>;
  /** What has to be renewed. */
  readonly leased: readonly EncodedResource[];
  /** Whether the Envoy said what it made of it. */
  isReplied: boolean;
}

const MAX_SUPERSEDED = 16;

const NO_NAMES: ReadonlySet<string> = new Set();

/**
 * The state-of-the-world variant of xDS (ACK/NACK and resource type instance version): each answer holds everything.
 *
 * - A request with another nonce than the last one sent is stale and changes nothing.
 * - The first request and each change of the set of names is answered, even with the same content.
 * - Content that changes without a request is sent only if some of it differs from what was sent last. What an Envoy
 *   refused is therefore not sent again until it changes.
 * - A lease is renewed by its whole content: in this variant Envoy (1.36 to 1.40) takes a resource without content and
 *   leaves its time to live as it was.
 * - On ADS a request that repeats one which was replied to already is answered again: it stands for a further watch on
 *   the same names (envoy#47309).
 */
export class SotwSession implements DiscoverySession<SotwRequest> {
  readonly #options: SessionOptions;
  readonly #stream: StreamNode;
  /** As received; undefined before the first request. */
  #received: ReadonlySet<string> | undefined;
  #names: ReadonlySet<string> = NO_NAMES;
  #sorted: readonly string[] = [];
  #wildcard = false;
  /** Whether an answer is due whatever it holds. */
  #isAsked = false;
  /** What the Envoy was sent on this stream, or had when it came. It removes nothing by itself. */
  readonly #held = new Set<string>();
  #sent: SentAnswer | undefined;
  /** Nonces of the answers before, where the reply may still be under way. */
  readonly #superseded = new Set<string>();

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#stream = options.streamNode ?? { node: undefined };
  }

  get node(): EnvoyNode {
    return this.#stream.node ?? UNKNOWN_NODE;
  }

  get names(): ReadonlySet<string> {
    return this.#names;
  }

  receive(request: SotwRequest): Received {
    this.#stream.node ??= request.node;
    const sent = this.#sent;
    if (sent !== undefined && request.responseNonce !== sent.nonce) {
      const isFree = this.#superseded.delete(request.responseNonce);
      return { reply: { kind: 'stale' }, asks: false, isFree, released: [] };
    }
    const changed = this.#received === undefined || !sameSet(this.#received, request.names);
    const released = changed ? this.#subscribe(request) : [];
    const repeats = this.#options.isAggregated && sent?.isReplied === true && request.refusal === undefined;
    if (changed || repeats) this.#isAsked = true;
    const reply = sent === undefined ? undefined : replyTo(sent, request);
    const asks = changed || repeats;
    return { ...(reply === undefined ? {} : { reply }), asks, isFree: !asks && reply !== undefined, released };
  }

  look(view: ResourceView, isChanged: boolean): Look {
    if (!isChanged && !this.#isAsked) return NOTHING_TO_SEND;
    if (!this.#wildcard && this.#sorted.length === 0) return NOTHING_TO_SEND;
    const refuses = this.#options.unknownName === 'error';
    if (!view.isRegistered) {
      if (refuses) throw notAuthorized(this.#sorted);
      return NOTHING_TO_SEND;
    }
    const found = findResources(view, { names: this.#sorted, wildcard: this.#wildcard, held: this.#held });
    const { resources } = found;
    if (refuses && (found.unknown.length > 0 || (resources.length === 0 && !found.isPending))) {
      throw notAuthorized(found.unknown);
    }
    if (resources.length === 0) return NOTHING_TO_SEND;
    if (!this.#isAsked && !this.#isNews(found)) return { unchanged: resources, more: false };
    return { message: this.#send(found), unchanged: [], more: false };
  }

  renew(leased: readonly LeasedResource[]): OutgoingMessage | undefined {
    const sent = this.#sent;
    const renewed = new Map(leased.map(({ name, version }) => [name, version]));
    const held = sent?.leased.filter(({ name, version }) => renewed.get(name) === version) ?? [];
    if (sent === undefined || held.length === 0) return undefined;
    const { typeUrl } = this.#options;
    const { version } = sent;
    const nonce = this.#options.nextNonce();
    this.#supersede();
    this.#sent = { ...sent, nonce, isReplied: false };
    return { ...EMPTY_MESSAGE, nonce, version, encode: () => encodeSotwAnswer(held, version, { typeUrl, nonce }) };
  }

  repeat(names: readonly string[]): void {
    if (names.some((name) => this.#names.has(name))) this.#isAsked = true;
  }

  /** Gives the names that are not asked for any more. */
  #subscribe({ names, versionInfo }: SotwRequest): readonly string[] {
    const isFirst = this.#received === undefined;
    const before = this.#names;
    this.#received = names;
    // No name at all asks for everything; on ADS, where watches come and go, only at first.
    this.#wildcard = names.has(WILDCARD) || (names.size === 0 && (isFirst || !this.#options.isAggregated));
    this.#names = names.has(WILDCARD) ? new Set([...names].filter((name) => name !== WILDCARD)) : names;
    this.#sorted = [...this.#names].sort();
    if (isFirst && versionInfo !== '') for (const name of this.#names) this.#held.add(name);
    // What everything has beside the names stays; the answer to this request brings back what it has and was named, too.
    const released = [...(this.#wildcard ? before : this.#held)].filter((name) => !this.#names.has(name));
    for (const name of released) this.#held.delete(name);
    return released;
  }

  /** Whether the Envoy must be told. What is to come again is not gone. */
  #isNews({ resources, pending }: FoundResources): boolean {
    const before = this.#sent?.versions;
    if (before === undefined) return true;
    for (const { name, version } of resources) if (before.get(name) !== version) return true;
    if (resources.length === before.size) return false;
    const still = new Set(resources.map(({ name }) => name));
    for (const name of before.keys()) if (!still.has(name) && !pending.has(name)) return true;
    return false;
  }

  #supersede(): void {
    if (this.#sent === undefined || this.#sent.isReplied) return;
    for (const oldest of this.#superseded) {
      if (this.#superseded.size < MAX_SUPERSEDED) break;
      this.#superseded.delete(oldest);
    }
    this.#superseded.add(this.#sent.nonce);
  }

  #send({ resources, gone }: FoundResources): OutgoingMessage {
    const { typeUrl } = this.#options;
    const nonce = this.#options.nextNonce();
    const version = versionOf(resources);
    this.#isAsked = false;
    this.#supersede();
    this.#sent = {
      version,
      nonce,
      versions: new Map(resources.map((resource) => [resource.name, resource.version])),
      leased: resources.filter(({ ttlMs }) => ttlMs !== undefined),
      isReplied: false,
    };
    for (const { name } of resources) this.#held.add(name);
    for (const name of gone) this.#held.delete(name);
    return {
      nonce,
      version,
      sent: resources,
      removed: gone,
      encode: () => encodeSotwAnswer(resources, version, { typeUrl, nonce }),
    };
  }
}

/** Equal content has an equal version, on every stream. The names are in the bytes, and so in the versions. */
export function versionOf(resources: readonly EncodedResource[]): string {
  const [only] = resources;
  if (only !== undefined && resources.length === 1) return only.version;
  const hash = createHash('sha256');
  for (const { version } of resources) hash.update(version);
  return hash.digest('hex').slice(0, 16);
}

function replyTo(sent: SentAnswer, { versionInfo, refusal }: SotwRequest): Reply | undefined {
  if (sent.isReplied) return undefined;
  sent.isReplied = true;
  const resources = [...sent.versions].map(([name, version]) => ({ name, version }));
  if (refusal !== undefined) return { kind: 'nack', resources, reason: refusal };
  if (versionInfo !== sent.version) return { kind: 'nack', resources, reason: 'Envoy kept another version' };
  return { kind: 'ack', resources };
}

function sameSet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && one.isSubsetOf(other);
}
