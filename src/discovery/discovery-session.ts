import { SvidgateError } from '../core/index.ts';
import type { LeasedResource } from './encode-answer.ts';
import type { EnvoyNode } from './envoy-node.ts';
import type { EncodedResource, ResourceView } from './resource-view.ts';
import type { ResourceVersion } from './stream-books.ts';

/**
 * One variant of the xDS protocol on one stream, as a state machine without input or output: it knows names, versions
 * and nonces. `Request` is what is received, in that variant.
 */
export interface DiscoverySession<Request> {
  /** Kept from the first message that carries it: Envoy names its node on the first message of a stream only. */
  readonly node: EnvoyNode;
  /** The names asked for; the same object until they change. */
  readonly names: ReadonlySet<string>;
  receive(request: Request): Received;
  /**
   * What is to be sent now, and takes it as sent. `isChanged`: the view may differ from the last one that was looked at.
   * Throws `not_authorized`, `no_identity`, and what `ResourceView.lookup` throws.
   */
  look(view: ResourceView, isChanged: boolean): Look;
  /** Renews what the Envoy holds in these versions; undefined when that is none of them. */
  renew(leased: readonly LeasedResource[]): OutgoingMessage | undefined;
  /** Has the next look send these again, also unchanged: the Envoy may have dropped them. */
  repeat(names: readonly string[]): void;
}

/** What a request did. */
export interface Received {
  /** What it says of an answer; absent where it names none. */
  readonly reply?: Reply;
  /** Whether it asks for something. */
  readonly asks: boolean;
  /** Whether it costs the caller nothing: it asks for nothing, and is the one reply to an answer. */
  readonly isFree: boolean;
  /** What the Envoy holds and does not ask for any more. */
  readonly released: readonly string[];
}

export type Reply =
  | { readonly kind: 'ack'; readonly resources: readonly ResourceVersion[] }
  | { readonly kind: 'nack'; readonly resources: readonly ResourceVersion[]; readonly reason: string }
  /** It names an answer that was not sent, or not lately, or that was replied to before. */
  | { readonly kind: 'stale' };

export interface Look {
  readonly message?: OutgoingMessage;
  /** What the Envoy holds in the same version. */
  readonly unchanged: readonly EncodedResource[];
  /** Whether more is to be sent after the message. */
  readonly more: boolean;
}

export interface OutgoingMessage {
  readonly nonce: string;
  /** For the log: of all content, or of the one resource; empty when there are several with versions of their own. */
  readonly version: string;
  readonly sent: readonly EncodedResource[];
  /** Names of what the Envoy was sent, or asks for, and may not have. */
  readonly removed: readonly string[];
  encode(): Uint8Array;
}

/** One without content. */
export const EMPTY_MESSAGE = { version: '', sent: [], removed: [] } as const;

/** What a name that the caller has no right to does: end the stream (SotW) or be answered as removed (delta), or wait. */
export type UnknownName = 'error' | 'wait';

export const NOTHING_TO_SEND: Look = { unchanged: [], more: false };

/** Asks for everything (xDS, how the client specifies what resources to return). */
export const WILDCARD = '*';

const MAX_NAMES_SHOWN = 5;
const MAX_NAME_SHOWN = 128;

export function notAuthorized(names: Iterable<string>): SvidgateError {
  const sorted = [...names].sort();
  if (sorted.length === 0) return new SvidgateError('no_identity', 'no identity issued');
  return new SvidgateError(
    'not_authorized',
    `workload is not authorized for the requested identities ${showNames(sorted)}`,
  );
}

/** The names for a status message: a few of them, each cut, so that an answer is never larger than a question. */
export function showNames(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMES_SHOWN).map((name) => JSON.stringify(name.slice(0, MAX_NAME_SHOWN)));
  const more = names.length > MAX_NAMES_SHOWN ? ` and ${names.length - MAX_NAMES_SHOWN} more` : '';
  return `[${shown.join(' ')}]${more}`;
}
