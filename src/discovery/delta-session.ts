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
} from './discovery-session.ts';
import { encodeDeltaAnswer, encodeDeltaRenewal, type LeasedResource } from './encode-answer.ts';
import { UNKNOWN_NODE, type EnvoyNode, type StreamNode } from './envoy-node.ts';
import { OutstandingAnswers } from './outstanding-answers.ts';
import type { FieldTally } from './request-tally.ts';
import type { EncodedResource, ResourceState, ResourceView } from './resource-view.ts';
import type { SessionOptions } from './sotw-session.ts';

/** A DeltaDiscoveryRequest as the protocol sees it. */
export interface DeltaRequest {
  /** Without the empty name. */
  readonly subscribe: ReadonlySet<string>;
  readonly unsubscribe: ReadonlySet<string>;
  /** What the Envoy holds from an earlier stream; read from the first request only. */
  readonly initialVersions: ReadonlyMap<string, string>;
  readonly responseNonce: string;
  /** The text of error_detail, or undefined when there is none. */
  readonly refusal: string | undefined;
  readonly node: EnvoyNode | undefined;
}

/** One name that is asked for, or was given by the wildcard. */
interface Resource {
  readonly name: string;
  isSubscribed: boolean;
  /** Whether the wildcard has given it. */
  isWild: boolean;
  /** Whether only the Envoy says so. */
  isClaim: boolean;
  /** What the Envoy was sent last, or came with; undefined when it was told that there is none, or nothing. */
  version: string | undefined;
  /** Whether an answer is due even if nothing has changed. */
  isAsked: boolean;
}

/**
 * Of what an Envoy says that it holds by the wildcard, this much may be closed and not be known to us otherwise: such
 * contexts are made for one stream, and it could name any number of trust domains.
 */
const MAX_CLOSED_CLAIMS = 100;

/** An Envoy that does not reply cannot make it remember more. */
const MAX_IN_FLIGHT = 1000;

/** Of all resources of an answer; a larger one is sent alone. gRPC clients take 4 MiB unless told otherwise. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/**
 * The incremental variant of xDS: each resource has a version of its own, and an answer holds what has changed.
 *
 * - Every name of resource_names_subscribe is answered, also where the Envoy has it already. A name that is to come is
 *   answered when it is there.
 * - A name that means nothing to the caller is answered in removed_resources and stays subscribed; with `unknownName:
 *   wait` there is no answer until it means something.
 * - What was sent and means nothing any more is in removed_resources once.
 * - A reply to a nonce that was not sent changes no books; what else the request asks for counts.
 * - What an Envoy refused is not sent again until it changes or is subscribed to anew.
 */
export class DeltaSession implements DiscoverySession<DeltaRequest> {
  readonly #options: SessionOptions;
  readonly #resources = new Map<string, Resource>();
  readonly #outstanding = new OutstandingAnswers();
  /** Versions of names let go while answers were under way: asked for again before those are read, they are held. */
  readonly #inFlight = new Map<string, string>();
  readonly #stream: StreamNode;
  #names: ReadonlySet<string> = new Set();
  #isStarted = false;
  #wildcard = false;
  /** Names subscribed to since the last look, and whether the wildcard was: nobody else needs an answer if nothing has changed. */
  readonly #fresh = new Set<string>();
  #isWildcardFresh = false;

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

  /** Of the names asked for, in characters. */
  get tally(): FieldTally {
    let total = 0;
    let longest = 0;
    for (const { length } of this.#names) {
      total += length;
      longest = Math.max(longest, length);
    }
    return { count: this.#names.size, longest, total };
  }

  receive(request: DeltaRequest): Received {
    this.#stream.node ??= request.node;
    const isFirst = !this.#isStarted;
    this.#isStarted = true;
    const reply = this.#replyTo(request);
    const { subscribe, unsubscribe } = request;
    const asks = isFirst || subscribe.size > 0 || unsubscribe.size > 0;
    // A name in both is subscribed to anew.
    const released = unsubscribe.size === 0 ? [] : this.#unsubscribe(unsubscribe, subscribe);
    if (subscribe.size > 0) this.#subscribe(subscribe);
    if (isFirst) {
      if (subscribe.size === 0) this.#wildcard = this.#isWildcardFresh = true;
      this.#takeOver(request.initialVersions);
    }
    if (asks) this.#names = this.#namesNow();
    const isFree = !asks && reply !== undefined && reply.kind !== 'stale';
    return { ...(reply === undefined ? {} : { reply }), asks, isFree, released };
  }

  look(view: ResourceView, isChanged: boolean): Look {
    if (!this.#wildcard && this.#resources.size === 0) return NOTHING_TO_SEND;
    if (!view.isRegistered) {
      if (this.#options.unknownName === 'error') throw notAuthorized(this.#names);
      return NOTHING_TO_SEND;
    }
    const draft = new Draft();
    if (isChanged || this.#isWildcardFresh) this.#offerEverything(view, draft);
    else this.#offerFresh(view, draft);
    const { unchanged, isFull: more } = draft;
    if (!more) {
      this.#fresh.clear();
      this.#isWildcardFresh = false;
    }
    return draft.isEmpty ? { unchanged, more: false } : { message: this.#send(draft), unchanged, more };
  }

  renew(leased: readonly LeasedResource[]): OutgoingMessage | undefined {
    const held = leased.filter(({ name, version }) => this.#resources.get(name)?.version === version);
    if (held.length === 0) return undefined;
    const { typeUrl } = this.#options;
    const nonce = this.#options.nextNonce();
    this.#outstanding.add(nonce, held, this.#mostOutstanding());
    return { ...EMPTY_MESSAGE, nonce, encode: () => encodeDeltaRenewal(held, { typeUrl, nonce }) };
  }

  repeat(names: readonly string[]): void {
    for (const name of names) {
      const resource = this.#resources.get(name);
      if (resource?.isSubscribed !== true) continue;
      resource.isAsked = true;
      this.#fresh.add(name);
    }
  }

  #mostOutstanding(): number {
    return 64 + 2 * this.#resources.size;
  }

  #subscribe(names: ReadonlySet<string>): void {
    for (const name of names) {
      if (name === WILDCARD) {
        this.#wildcard = true;
        this.#isWildcardFresh = true;
        for (const resource of this.#resources.values()) if (resource.isWild) resource.isAsked = true;
      } else {
        const resource = this.#resource(name);
        resource.isSubscribed = true;
        resource.isAsked = true;
        this.#fresh.add(name);
      }
    }
  }

  /** Gives the names that are not asked for any more. */
  #unsubscribe(names: ReadonlySet<string>, subscribed: ReadonlySet<string>): readonly string[] {
    if (names.has(WILDCARD) && !subscribed.has(WILDCARD)) {
      this.#wildcard = false;
      for (const resource of this.#resources.values()) resource.isWild = false;
    }
    for (const name of names) {
      const resource = this.#resources.get(name);
      if (resource !== undefined && !subscribed.has(name)) resource.isSubscribed = false;
    }
    const released: string[] = [];
    for (const [name, { isSubscribed, isWild, version }] of this.#resources) {
      if (isSubscribed || isWild) continue;
      this.#resources.delete(name);
      this.#fresh.delete(name);
      this.#letGo(name, version);
      released.push(name);
    }
    return released;
  }

  #letGo(name: string, version: string | undefined): void {
    if (version === undefined || this.#outstanding.size === 0) return;
    for (const oldest of this.#inFlight.keys()) {
      if (this.#inFlight.size < MAX_IN_FLIGHT) break;
      this.#inFlight.delete(oldest);
    }
    this.#inFlight.set(name, version);
  }

  /** What the Envoy holds is sent again only where it has changed, or is subscribed to. */
  #takeOver(versions: ReadonlyMap<string, string>): void {
    for (const [name, version] of versions) {
      const resource = this.#wildcard ? this.#resource(name) : this.#resources.get(name);
      if (resource === undefined) continue;
      resource.version = version;
      resource.isWild = resource.isClaim = this.#wildcard;
    }
  }

  #namesNow(): ReadonlySet<string> {
    const names = new Set<string>();
    for (const [name, { isSubscribed }] of this.#resources) if (isSubscribed) names.add(name);
    return names;
  }

  #resource(name: string): Resource {
    let resource = this.#resources.get(name);
    if (resource === undefined) {
      resource = {
        name,
        isSubscribed: false,
        isWild: false,
        isClaim: false,
        version: this.#inFlight.get(name),
        isAsked: false,
      };
      this.#resources.set(name, resource);
    }
    return resource;
  }

  #replyTo({ responseNonce, refusal }: DeltaRequest): Reply | undefined {
    if (responseNonce === '') return undefined;
    const resources = this.#outstanding.take(responseNonce);
    if (this.#outstanding.size === 0) this.#inFlight.clear();
    if (resources === undefined) return { kind: 'stale' };
    return refusal === undefined ? { kind: 'ack', resources } : { kind: 'nack', resources, reason: refusal };
  }

  #offerEverything(view: ResourceView, draft: Draft): void {
    const given = this.#wildcard ? this.#offerAll(view, draft) : undefined;
    let closedClaims = 0;
    for (const [name, resource] of this.#resources) {
      if (given?.has(name) === true) continue;
      if (resource.isSubscribed) {
        this.#offer(resource, view.lookup(name, resource.version !== undefined), draft);
      } else if (resource.isClaim && closedClaims === MAX_CLOSED_CLAIMS) {
        this.#resources.delete(name);
      } else {
        const state = view.lookup(name, true);
        if (resource.isClaim && state.kind === 'ready') closedClaims += 1;
        this.#offerFormer(resource, state, draft);
      }
    }
  }

  #offerFresh(view: ResourceView, draft: Draft): void {
    for (const name of this.#fresh) {
      const resource = this.#resources.get(name);
      if (resource !== undefined) this.#offer(resource, view.lookup(name, resource.version !== undefined), draft);
    }
  }

  /** Offers what the wildcard stands for, and gives its names. */
  #offerAll(view: ResourceView, draft: Draft): ReadonlySet<string> {
    const given = new Set<string>();
    for (const encoded of view.all()) {
      given.add(encoded.name);
      const resource = this.#resource(encoded.name);
      resource.isWild = true;
      resource.isClaim = false;
      this.#offer(resource, { kind: 'ready', resource: encoded }, draft);
    }
    return given;
  }

  /** What the wildcard has given before and has not any more. */
  #offerFormer(resource: Resource, state: ResourceState, draft: Draft): void {
    this.#offer(resource, state, draft);
    if (state.kind === 'unknown' && resource.version === undefined) this.#resources.delete(resource.name);
  }

  #offer(resource: Resource, state: ResourceState, draft: Draft): void {
    switch (state.kind) {
      case 'pending':
        return;
      case 'ready':
        if (!resource.isAsked && resource.version === state.resource.version) draft.unchanged.push(state.resource);
        else if (draft.add(state.resource)) {
          resource.version = state.resource.version;
          resource.isAsked = false;
        }
        return;
      case 'unknown': {
        const isDue = resource.version !== undefined || (resource.isAsked && this.#options.unknownName === 'error');
        if (!isDue || !draft.remove(resource.name)) return;
        resource.version = undefined;
        resource.isAsked = false;
      }
    }
  }

  #send({ sent, removed }: Draft): OutgoingMessage {
    const { typeUrl } = this.#options;
    const nonce = this.#options.nextNonce();
    const resources = sent.map(({ name, version }) => ({ name, version }));
    this.#outstanding.add(nonce, resources, this.#mostOutstanding());
    const version = resources.length === 1 ? (resources[0]?.version ?? '') : '';
    return { nonce, version, sent, removed, encode: () => encodeDeltaAnswer(sent, removed, { typeUrl, nonce }) };
  }
}

/** What is to be sent, up to the size of one answer. */
class Draft {
  readonly sent: EncodedResource[] = [];
  readonly removed: string[] = [];
  readonly unchanged: EncodedResource[] = [];
  isFull = false;
  #bytes = 0;

  get isEmpty(): boolean {
    return this.sent.length + this.removed.length === 0;
  }

  /** False when there is no room any more. */
  add(resource: EncodedResource): boolean {
    if (!this.#takeRoom(resource.bytes.length + 2 * resource.name.length)) return false;
    this.sent.push(resource);
    return true;
  }

  remove(name: string): boolean {
    if (!this.#takeRoom(name.length)) return false;
    this.removed.push(name);
    return true;
  }

  #takeRoom(bytes: number): boolean {
    if (this.isFull || (!this.isEmpty && this.#bytes + bytes > MAX_ANSWER_BYTES)) {
      this.isFull = true;
      return false;
    }
    this.#bytes += bytes;
    return true;
  }
}
