import type { NdBuiltinCache } from '../../policy/index.ts';
import type { OffloadedFacts } from '../offloaded/offloaded-facts.ts';
import type { RecordedContext, RecordedPaths } from './decision-record.ts';

/** What is known of one answered check, as it goes to the recording thread: nothing of it is masked yet. */
export interface DecisionFacts {
  readonly decisionId: string;
  /** When the question came, epoch milliseconds. */
  readonly at: number;
  readonly durationNs: number;
  /** Counts up within one run of the server. */
  readonly requestNumber: number;
  /** The policy that was asked for; empty when the request did not get that far. */
  readonly policy: string;
  readonly digest?: string;
  readonly outcome: RecordedContext['outcome'];
  /** Empty with `allow`. */
  readonly reason: string;
  /** What Envoy was told to send; 0 for an allow. */
  readonly httpStatus: number;
  /** What went wrong, in words; it may quote the request. */
  readonly detail?: string;
  readonly caller: RecordedContext['caller'];
  readonly callerIds?: readonly string[];
  readonly listener: string;
  /** Verified. */
  readonly peer?: { readonly spiffeId: string; readonly serial: string };
  readonly tokens?: readonly TokenFacts[];
  /** Absent when the request could not be read. */
  readonly request?: RequestFacts;
  /** Absent when no policy was asked, or none had an answer. */
  readonly evaluated?: EvaluatedFacts;
  /** Set where Envoy answered by itself. `missing`: JSON pointers to what of the input is not known. */
  readonly offloaded?: OffloadedFacts & { readonly missing?: readonly string[] };
  /** The SPIFFE ID of the peer that Envoy verified, where nobody else did. */
  readonly envoyPeer?: string;
}

export interface TokenFacts {
  readonly verified: boolean;
  /** The header that it was in, as it was sent. */
  readonly text: string;
  /** Of verified tokens; else empty. */
  readonly issuer: string;
  readonly subject: string;
}

/** As Envoy sent it. */
export interface RequestFacts {
  readonly method: string;
  readonly host: string;
  /** With its query. */
  readonly path: string;
  /** `svidgate.route` of the route's context_extensions; empty without. */
  readonly route: string;
  readonly requestId?: string;
  readonly traceparent?: string;
  /** Single header: `TRACEID-SPANID-…`. */
  readonly b3?: string;
  readonly b3TraceId?: string;
  readonly b3SpanId?: string;
}

export interface EvaluatedFacts {
  readonly value?: unknown;
  readonly nd?: NdBuiltinCache;
  readonly ndLost?: readonly string[];
  readonly cached: boolean;
  readonly entrypoint: string;
  readonly revision?: string;
  readonly recorded: RecordedPaths;
  /** What was left out because it is larger than any record. */
  readonly tooLarge?: readonly ('input' | 'result')[];
}
