import type { SpiffeId } from '../spiffe/index.ts';

export type SecretContent =
  | { readonly kind: 'generic'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'tls_certificate';
      /** PEM with one block for each certificate, leaf first. */
      readonly certificateChain: string;
      /** PEM, PKCS #8. */
      readonly privateKey: string;
      /** Of the leaf: lower-case hex, and epoch milliseconds. */
      readonly serial: string;
      readonly notAfter: number;
    }
  /** PEM. */
  | { readonly kind: 'validation_context'; readonly ca: string }
  /** 80 bytes each; the first encrypts, all decrypt. */
  | { readonly kind: 'session_tickets'; readonly keys: readonly Uint8Array[] };

/** A secret that somebody asks for. */
export interface FollowedSecret extends Disposable {
  /** Whether a holder of one of these SPIFFE IDs may have it. A file that was asked for by name is looked at only once this was true. */
  allows(spiffeIds: Iterable<SpiffeId>): boolean;
  /** Undefined while it cannot be had: the file is missing or has never been right. The object stays the same until it changes. */
  readonly content: SecretContent | undefined;
}

/** Secrets of the configuration, and files in allow-listed folders. */
export interface SecretStore {
  /**
   * Follows what the name means until it is disposed; undefined when it means nothing here. Names: those of the
   * configuration, `file-cert:CERTIFICATE~KEY` and `file-root:CA`. `onChange` is called when `content` has changed.
   */
  follow(name: string, onChange: () => void): FollowedSecret | undefined;
  /** Watches files and rotates ticket keys until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}
