import type { RequestFacts } from './decision-facts.ts';

export interface TraceContext {
  /** 32 hex digits. */
  readonly trace_id?: string;
  /** 16 hex digits. */
  readonly span_id?: string;
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-|$)/;
const B3 = /^([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-|$)/i;
const HEX_ID = /^[0-9a-f]+$/i;

/** Of which trace a request is: W3C Trace Context §3.2, else B3 in one header or in several. */
export function traceContext(request: RequestFacts): TraceContext {
  const [, traceId, spanId] = TRACEPARENT.exec(request.traceparent ?? '') ?? [];
  if (isId(traceId, 32) && isId(spanId, 16)) return { trace_id: traceId, span_id: spanId };
  const [, b3TraceId = request.b3TraceId, b3SpanId = request.b3SpanId] = B3.exec(request.b3 ?? '') ?? [];
  const long = b3TraceId?.toLowerCase().padStart(32, '0');
  const span = b3SpanId?.toLowerCase();
  return isId(long, 32) && isId(span, 16) ? { trace_id: long, span_id: span } : {};
}

/** All zeros stand for none. */
function isId(text: string | undefined, length: number): text is string {
  return text !== undefined && text.length === length && HEX_ID.test(text) && !/^0+$/.test(text);
}
