import { UNKNOWN_NODE, type EnvoyNode } from './envoy-node.ts';

/** A DiscoveryRequest as the protocol sees it. */
export interface SubscriptionRequest {
  readonly names: ReadonlySet<string>;
  readonly versionInfo: string;
  readonly responseNonce: string;
  /** The text of error_detail, or undefined when there is none. */
  readonly refusal: string | undefined;
  /** The node, when this message carries one. */
  readonly node: EnvoyNode | undefined;
}

/** One answer as it would be sent: `version` is a hash of its content. */
export interface Answer {
  readonly version: string;
}

export type RequestOutcome =
  | { readonly kind: 'answer' }
  | { readonly kind: 'ack' }
  | { readonly kind: 'nack'; readonly refusal: string; readonly answer: boolean }
  | { readonly kind: 'stale' };

/**
 * The state-of-the-world variant of the xDS protocol for one stream (xDS REST and gRPC protocol, ACK/NACK and resource
 * updates). It decides when to answer; what the answer holds is the caller's affair.
 *
 * - A request with another nonce than the last one sent is stale and changes nothing.
 * - The first request and each change of the set of names is answered, even with the same content.
 * - A change of identity is answered only if the content differs from what was sent last. What an Envoy refused is
 *   therefore not sent again until it changes.
 */
export class Subscription {
  #names: ReadonlySet<string> | undefined;
  #node: EnvoyNode = UNKNOWN_NODE;
  #sent: { readonly version: string; readonly nonce: string } | undefined;

  /** The names asked for last, or undefined before the first request. */
  get names(): ReadonlySet<string> | undefined {
    return this.#names;
  }

  /** Kept from the first message that carries it: Envoy names its node on the first message of a stream only. */
  get node(): EnvoyNode {
    return this.#node;
  }

  /** Whether the request says that the Envoy took what was sent last; it may ask for other names as well. */
  isAcknowledgement({ responseNonce, versionInfo, refusal }: SubscriptionRequest): boolean {
    if (this.#sent === undefined || refusal !== undefined) return false;
    return responseNonce === this.#sent.nonce && versionInfo === this.#sent.version;
  }

  receive(request: SubscriptionRequest): RequestOutcome {
    if (request.node !== undefined) this.#node = request.node;
    if (this.#sent !== undefined && request.responseNonce !== this.#sent.nonce) return { kind: 'stale' };
    const changed = this.#names === undefined || !sameSet(this.#names, request.names);
    this.#names = request.names;
    if (this.#sent !== undefined) {
      if (request.refusal !== undefined) return { kind: 'nack', refusal: request.refusal, answer: changed };
      if (request.versionInfo !== this.#sent.version) {
        return { kind: 'nack', refusal: 'Envoy kept another version', answer: changed };
      }
    }
    return changed ? { kind: 'answer' } : { kind: 'ack' };
  }

  /** Whether content that came without a request is news to this Envoy. */
  isNews(answer: Answer): boolean {
    return this.#names !== undefined && answer.version !== this.#sent?.version;
  }

  /** Notes what was sent. */
  sent(answer: Answer, nonce: string): void {
    this.#sent = { version: answer.version, nonce };
  }
}

function sameSet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && one.isSubsetOf(other);
}
