import type { MessagePort } from 'node:worker_threads';
import type { NdAnswers } from './builtins/nd-book.ts';
import type { NdBuiltinCache } from './evaluation.ts';

/** A policy ready to be loaded into an evaluation thread. */
export interface LoadedModule {
  readonly module: WebAssembly.Module;
  readonly entrypoint: string;
  /** JSON text of the base documents in UTF-8. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** Whether its threads stand back where others want the processor. */
  readonly givesWay?: boolean;
}

/** What an evaluation thread is given at its start. */
export interface EvaluatorJob extends LoadedModule {
  readonly port: MessagePort;
  readonly limits: MemoryLimits;
  /** Absent: the policy may ask nobody. */
  readonly network?: NetworkLimits;
}

export interface NetworkLimits {
  /** How much of what `http.send` got is kept from one evaluation to the next. */
  readonly responseCacheBytes: number;
}

export interface MemoryLimits {
  /** WASM memory beyond what the data takes after which the instance is replaced; memory never shrinks by itself. */
  readonly recycleBytes: number;
  /** WASM memory that an instance may never exceed: the evaluation fails. At most 4 GiB. */
  readonly maxBytes: number;
}

/** To the thread: the program of OPA's builtins, which it has asked for. */
export interface ProgramMessage {
  readonly program: WebAssembly.Module;
}

/** To the thread, in lists: evaluate. */
export interface EvaluateMessage {
  readonly id: number;
  /** JSON text of the input in UTF-8. */
  readonly input: ArrayBuffer;
  /** Absent at the first attempt. */
  readonly resumption?: Resumption;
  /** See EvaluationOptions. */
  readonly nd?: NdBuiltinCache;
}

/** What an evaluation goes on with that was given up: it is run once more, at the same time and with the same luck. */
export interface Resumption {
  /** Nanoseconds since 1970. */
  readonly nowNs: bigint;
  /** What builtins answered by chance, as the program of the builtins wrote it. */
  readonly chance: Readonly<Record<string, string>>;
  readonly exchanges: readonly Exchange[];
}

/** An exchange with the network, made for one evaluation. */
export interface Exchange {
  /** The text that asked for it. */
  readonly request: string;
  readonly answer: ExchangeAnswer;
}

export type ExchangeAnswer =
  | {
      /** Without anything of the request but its origin: it ends in logs. */
      readonly fault: string;
      readonly reason: 'timeout' | 'refused' | 'failed';
    }
  | {
      readonly status: string;
      readonly statusCode: number;
      /** One character for each byte. */
      readonly headers: readonly (readonly [string, string])[];
      /** Base64. */
      readonly body: string;
    }
  | { readonly addresses: readonly string[] };

/** Why an evaluation was given up. */
export interface Suspension {
  /** The exchange that it cannot go on without. */
  readonly wanted: string;
  readonly nowNs: bigint;
  readonly chance: Readonly<Record<string, string>>;
}

/**
 * From the thread: first `ready` or `refused`, and before it `needs_program` where a policy does; then one answer for each
 * message in their order.
 */
export type EvaluatorReply =
  | { readonly kind: 'needs_program' }
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'value'; readonly id: number; readonly value: unknown; readonly answers?: NdAnswers }
  | { readonly kind: 'undefined'; readonly id: number; readonly answers?: NdAnswers }
  | { readonly kind: 'suspended'; readonly id: number; readonly suspension: Suspension }
  | { readonly kind: 'error'; readonly id: number; readonly message: string; readonly answers?: NdAnswers };
