import type { MessagePort } from 'node:worker_threads';

/** A policy ready to be loaded into an evaluation thread. */
export interface LoadedModule {
  readonly module: WebAssembly.Module;
  readonly entrypoint: string;
  /** JSON text of the base documents in UTF-8. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** What an evaluation thread is given at its start. */
export interface EvaluatorJob extends LoadedModule {
  readonly port: MessagePort;
  readonly limits: MemoryLimits;
}

export interface MemoryLimits {
  /** WASM memory beyond what the data takes after which the instance is replaced; memory never shrinks by itself. */
  readonly recycleBytes: number;
  /** WASM memory that an instance may never exceed: the evaluation fails. At most 4 GiB. */
  readonly maxBytes: number;
}

/** To the thread: evaluate. */
export interface EvaluateMessage {
  readonly id: number;
  /** JSON text of the input in UTF-8. */
  readonly input: ArrayBuffer;
}

/** From the thread: first `ready` or `refused`, then one answer for each message in their order. */
export type EvaluatorReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'value'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'undefined'; readonly id: number }
  | { readonly kind: 'error'; readonly id: number; readonly message: string };
