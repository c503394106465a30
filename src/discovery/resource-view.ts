import type { AuditCaller } from '../core/index.ts';
import type { Selector, SpiffeId } from '../spiffe/index.ts';
import type { EnvoyNode } from './envoy-node.ts';
import type { ResourceVersion } from './stream-books.ts';

/** One resource as it is sent, encoded once for all streams that hold it. */
export interface EncodedResource {
  /** The resource name, also in `bytes`. */
  readonly name: string;
  /**
   * 16 hex digits of SHA-256 over `bytes`: equal content has an equal version on every stream, and after a restart. That of a
   * generic secret of a file is another one after a restart: it may be a password.
   */
  readonly version: string;
  /** The encoded message, without Any around it. */
  readonly bytes: Uint8Array;
  /** How long the Envoy may hold it after we were heard of last; for as long as it lives when absent. */
  readonly ttlMs?: number;
  readonly facts: ResourceFacts;
}

export type ResourceKind =
  | 'x509_svid'
  | 'bundle'
  | 'jwt_svid'
  | 'tls_certificate'
  | 'validation_context'
  | 'generic'
  | 'session_tickets'
  /** Rules by which an Envoy decides without a call. */
  | 'offload';

/** What status, admin API and the activation of new CAs need to know of a resource. Nothing of it is secret. */
export interface ResourceFacts {
  readonly kind: ResourceKind;
  readonly spiffeId?: SpiffeId;
  /** X.509-SVIDs and certificates: lower-case hex. */
  readonly serial?: string;
  /** Epoch milliseconds. */
  readonly expiresAt?: number;
  /** Sequence number of our own bundle, when the secret holds it. */
  readonly bundleSequence?: number;
  /** Offloaded rules: of the policy that they were made from; empty for none. */
  readonly policyDigest?: string;
  /** Offloaded rules: the policy, where it is one that is offloaded. */
  readonly policy?: string;
}

/** What a name stands for at present, for one caller. */
export type ResourceState =
  | { readonly kind: 'ready'; readonly resource: EncodedResource }
  /** The caller has a right to it, and it cannot be had at the moment. */
  | { readonly kind: 'pending' }
  /** The caller has no right to it, or it means nothing. */
  | { readonly kind: 'unknown' };

/** What all names stand for at one moment, for one caller and node. */
export interface ResourceView {
  /** Whether an entry matches the caller. Who is not registered is sent nothing at all. */
  readonly isRegistered: boolean;
  /**
   * `isHeld`: the Envoy holds something under this name. A bundle that it must not trust any more is then replaced by a
   * validation context that nobody passes, since Envoy ignores removal. Throws `invalid_request` for names that cannot be
   * served to this node (all bundles without the SPIFFE validator).
   */
  lookup(name: string, isHeld: boolean): ResourceState;
  /** What is meant by asking for no name: own bundle, foreign bundles, SVIDs, in this order, under their SPIFFE IDs. */
  all(): readonly EncodedResource[];
  /** Whether an SVID is to come that `all` will then have. */
  readonly isPending: boolean;
}

/** What one stream asks for, kept fresh. `Subject` is what the caller is at a moment, for resources of this type. */
export interface FollowedResources<Subject> extends Disposable {
  /** The names asked for from now on: what they need beside the identity is followed, what is not asked any more is let go. */
  ask(names: ReadonlySet<string>): void;
  view(subject: Subject, node: EnvoyNode): ResourceView;
  /** The Envoy has refused these. */
  refused?(resources: readonly ResourceVersion[]): void;
}

/** Makes the follower of one stream. `onChange` is called when a view may have changed without a change of the subject. */
export type FollowResources<Subject> = (caller: DiscoveryCaller, onChange: () => void) => FollowedResources<Subject>;

/** Who is asking, as attested. */
export interface DiscoveryCaller {
  readonly selectors: ReadonlySet<Selector>;
  /** For the audit log. */
  readonly audit: AuditCaller;
}
