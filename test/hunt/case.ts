/** What one check of the hunt is, as its generator drew it: plain JSON, so that a failing case is one line. */
export interface Case {
  /** Pairs of `context_extensions`, in this order. */
  readonly extensions: readonly Pair[];
  readonly method: string;
  readonly path: string;
  readonly headers: readonly Pair[];
  /** Whether the headers stand in `header_map`, as with `encode_raw_headers`. */
  readonly rawHeaders: boolean;
  readonly body: string;
  /** Whether the body stands in `raw_body`. */
  readonly rawBody: boolean;
  /** A name of the certificates; `none`. */
  readonly certificate: string;
  /** `match`: that of the certificate; `none`; else its text. */
  readonly principal: string;
  /** A name of the tokens; `none`. */
  readonly token: string;
  /** A name of the headers of hops; `none`. */
  readonly xfcc: string;
  readonly caller: 'attested' | 'anonymous';
  readonly deadlineMs: number;
  /** After which the caller goes away. */
  readonly cancelMs?: number;
  readonly wire: WireStyle;
}

export type Pair = readonly [name: string, value: string];

/** How the request is written as bytes. */
export type WireStyle =
  /** As Envoy writes it. */
  | { readonly kind: 'plain' }
  /** Right, and yet otherwise: each of these leaves what the message says as it is. */
  | { readonly kind: 'odd'; readonly how: (typeof ODD_WAYS)[number] }
  /** One field is written with a wire type that it does not have, or as bytes that are no text. */
  | { readonly kind: 'broken'; readonly field: 'method' | 'path' | 'certificate'; readonly how: 'wire_type' | 'utf8' }
  /** Bytes are changed: nobody knows beforehand what the message says then. */
  | { readonly kind: 'mutated'; readonly edits: readonly ByteEdit[] };

export const ODD_WAYS = ['reversed', 'decoys', 'split', 'unknown_fields', 'overlong'] as const;

/** `at` is taken modulo the length. */
export type ByteEdit =
  | { readonly edit: 'flip'; readonly at: number; readonly bit: number }
  | { readonly edit: 'cut'; readonly at: number }
  | { readonly edit: 'remove'; readonly at: number; readonly count: number }
  | { readonly edit: 'insert'; readonly at: number; readonly bytes: readonly number[] }
  | { readonly edit: 'repeat' };

/** The dullest case, which every policy that knows no peers denies. A case is shrunk towards it. */
export const PLAIN_CASE: Case = {
  extensions: [],
  method: 'GET',
  path: '/',
  headers: [],
  rawHeaders: false,
  body: '',
  rawBody: false,
  certificate: 'none',
  principal: 'match',
  token: 'none',
  xfcc: 'none',
  caller: 'attested',
  deadlineMs: 2000,
  wire: { kind: 'plain' },
};
