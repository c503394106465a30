/** One request of the hunt for an unsound rule: plain JSON, so that a failing one is one line. */
export interface Draw {
  readonly method: string;
  /** With its query, as Envoy has it; bytes, a character each. */
  readonly path: string;
  readonly authority: string;
  /** Names in lower case; values are bytes, a character each. */
  readonly headers: readonly Pair[];
  /** What of the body Envoy passes on. */
  readonly body: string;
  /** A name of the certificates; `none`. */
  readonly certificate: string;
  /** A name of the tokens; `none`. */
  readonly token: string;
  /** A name of the headers of hops; `none`. */
  readonly hops: string;
  /** SPIFFE IDs of the Envoy that asks. */
  readonly callerIds: readonly string[];
  readonly serverName: string;
  readonly port: number;
}

export type Pair = readonly [name: string, value: string];

export const ORDERS = 'spiffe://example.test/orders';
export const BILLING = 'spiffe://example.test/billing';

/** A request is shrunk towards it. */
export const PLAIN_DRAW: Draw = {
  method: 'GET',
  path: '/',
  authority: 'orders.test',
  headers: [],
  body: '',
  certificate: 'none',
  token: 'none',
  hops: 'none',
  callerIds: [ORDERS],
  serverName: '',
  port: 8080,
};

/** Every request with one thing less, or back to what is plain. */
export function* smallerDraws(draw: Draw): Generator<Draw> {
  for (const key of Object.keys(PLAIN_DRAW) as (keyof Draw)[]) {
    if (JSON.stringify(draw[key]) !== JSON.stringify(PLAIN_DRAW[key])) yield { ...draw, [key]: PLAIN_DRAW[key] };
  }
  for (const index of draw.headers.keys()) yield { ...draw, headers: draw.headers.toSpliced(index, 1) };
  for (let at = 1; at < draw.path.length; at += 1) {
    yield { ...draw, path: draw.path.slice(0, at) + draw.path.slice(at + 1) };
  }
}
