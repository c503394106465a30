import type { SpiffeId } from '../spiffe/index.ts';
import type { EncodedResource, ResourceFacts, ResourceKind } from './resource-view.ts';

/** One resource, as the Envoy was sent it last. */
export interface StreamResource {
  readonly name: string;
  readonly kind: ResourceKind;
  readonly version: string;
  /** Epoch milliseconds; absent when the Envoy had it from an earlier stream and was not sent it on this one. */
  readonly sentAt?: number;
  /** Whether the Envoy has accepted this version. */
  readonly acknowledged: boolean;
  /** The version it has accepted last. */
  readonly acknowledgedVersion?: string;
  /** `reason` is the Envoy's own text: not proven, and it may hold any character. */
  readonly lastNack?: { readonly reason: string; readonly at: number };
  /** Of this version, as the next four. */
  readonly serial?: string;
  readonly spiffeId?: SpiffeId;
  readonly expiresAt?: number;
  readonly bundleSequence?: number;
  /** Offloaded rules: of the policy that they were made from; empty for none. */
  readonly policyDigest?: string;
  /** Whether the Envoy has refused it, or not accepted it within the limit. */
  readonly unapplied: boolean;
}

/** Why a resource is not applied: no answer within the limit, or a refusal. */
export type Obstacle = 'silent' | 'refused';

type State = 'sent' | 'acknowledged' | 'refused';

/** The longest refusal that is kept. */
const MAX_REASON_LENGTH = 1024;

/** What is known of one resource of one stream. */
export class BookedResource {
  readonly name: string;
  #version: string;
  #facts: ResourceFacts;
  #state: State;
  #sentAt: number | undefined;
  /** When the first of the versions was sent that wait for an answer. */
  #waitingSince = 0;
  #acknowledgedVersion: string | undefined;
  #lastNack: StreamResource['lastNack'];
  #heldSequence = -1;
  #told: Obstacle | undefined;

  private constructor(first: EncodedResource, state: State) {
    this.name = first.name;
    this.#version = first.version;
    this.#facts = first.facts;
    this.#state = state;
  }

  static sent(first: EncodedResource, now: number): BookedResource {
    const resource = new BookedResource(first, 'sent');
    resource.#sentAt = now;
    resource.#waitingSince = now;
    return resource;
  }

  /** The Envoy says that it has these bytes from an earlier stream. */
  static found(first: EncodedResource): BookedResource {
    const resource = new BookedResource(first, 'acknowledged');
    resource.#accept();
    return resource;
  }

  get facts(): ResourceFacts {
    return this.#facts;
  }

  get version(): string {
    return this.#version;
  }

  get isSettled(): boolean {
    return this.#state === 'acknowledged';
  }

  /** The newest sequence number of our bundle that the Envoy has accepted here; -1 before the first. */
  get heldSequence(): number {
    return this.#heldSequence;
  }

  get refusal(): string {
    return this.#lastNack?.reason ?? '';
  }

  sent(resource: EncodedResource, now: number): void {
    this.#sentAt = now;
    if (resource.version === this.#version) {
      this.#facts = resource.facts;
      if (this.#state === 'acknowledged') return this.#accept(); // it holds these bytes, whether it answers or not
      if (this.#state === 'sent') return;
    } else {
      this.#version = resource.version;
      this.#facts = resource.facts;
      if (this.#state === 'refused') this.#told = undefined;
    }
    // Whoever is silent is silent since the first version: newer ones do not put the limit off.
    if (this.#state !== 'sent') this.#waitingSince = now;
    this.#state = 'sent';
  }

  unchanged(resource: EncodedResource): void {
    if (resource.version === this.#version) {
      this.#facts = resource.facts;
      if (this.#state === 'acknowledged') this.#accept();
    } else if (this.#state === 'refused' && resource.version === this.#acknowledgedVersion) {
      this.#version = resource.version; // back to what it held before the one that it refused
      this.#facts = resource.facts;
      this.#accept();
    }
  }

  /** Gives how many milliseconds after it was sent, or undefined when the answer is to an earlier version or a repetition. */
  acknowledged(version: string, now: number): number | undefined {
    if (version === this.#version) {
      const took = this.#state === 'acknowledged' || this.#sentAt === undefined ? undefined : now - this.#sentAt;
      this.#accept();
      return took === undefined ? undefined : Math.max(0, took);
    }
    if (this.#state !== 'sent') return undefined;
    this.#acknowledgedVersion = version;
    this.#waitingSince = this.#sentAt ?? now;
    this.#told = undefined;
    return undefined;
  }

  /** An answer with several resources is refused as a whole: what the Envoy held before, it holds. */
  refused(version: string, nack: { readonly reason: string; readonly at: number }): void {
    this.#lastNack = { reason: nack.reason.slice(0, MAX_REASON_LENGTH).toWellFormed(), at: nack.at };
    if (version === this.#version && this.#state === 'sent') this.#state = 'refused';
  }

  obstacle(now: number, limitMs: number): Obstacle | undefined {
    if (this.#state === 'refused') return 'refused';
    if (this.#state === 'acknowledged') return undefined;
    if (this.#waitingSince > now) this.#waitingSince = now; // the clock was set back
    return now - this.#waitingSince >= limitMs ? 'silent' : undefined;
  }

  /** Whether this has not been told yet; it is now. */
  tell(obstacle: Obstacle): boolean {
    const isNews = this.#told !== obstacle;
    this.#told = obstacle;
    return isNews;
  }

  status(now: number, limitMs: number): StreamResource {
    const { kind, serial, spiffeId, expiresAt, bundleSequence, policyDigest } = this.#facts;
    return {
      name: this.name,
      kind,
      version: this.#version,
      acknowledged: this.#state === 'acknowledged',
      unapplied: this.obstacle(now, limitMs) !== undefined,
      ...(this.#sentAt === undefined ? {} : { sentAt: this.#sentAt }),
      ...(this.#acknowledgedVersion === undefined ? {} : { acknowledgedVersion: this.#acknowledgedVersion }),
      ...(this.#lastNack === undefined ? {} : { lastNack: this.#lastNack }),
      ...(serial === undefined ? {} : { serial }),
      ...(spiffeId === undefined ? {} : { spiffeId }),
      ...(expiresAt === undefined ? {} : { expiresAt }),
      ...(bundleSequence === undefined ? {} : { bundleSequence }),
      ...(policyDigest === undefined ? {} : { policyDigest }),
    };
  }

  #accept(): void {
    this.#state = 'acknowledged';
    this.#acknowledgedVersion = this.#version;
    this.#heldSequence = Math.max(this.#heldSequence, this.#facts.bundleSequence ?? -1);
    this.#told = undefined;
  }
}
