import { ALWAYS, exact, NEVER, request, TRUE, UNKNOWN, type Bounds } from './formula.ts';
import { callerIdList, parameterList, segmentList } from './lists.ts';
import {
  constant,
  NOTHING,
  truth,
  unknown,
  type Comparison,
  type Meaning,
  type NumberSymbol,
  type TextSymbol,
} from './meaning.ts';
import {
  destinationIp,
  fieldText,
  headerText,
  singleHeaderText,
  peerText,
  serverNameText,
  targetText,
} from './text-sources.ts';

/** What one place of the input means to Envoy; `*` in a path stands for any key. */
export interface ReferenceTranslator {
  /** Below `input`. */
  readonly path: readonly string[];
  /** @param keys what stands in place of each `*` */
  readonly meaning: (keys: readonly string[], about: { readonly policy: string }) => Meaning;
}

const HTTP = ['attributes', 'request', 'http'];

/** The most particular comes first. */
export const REFERENCES: readonly ReferenceTranslator[] = [
  { path: ['svidgate', 'peer', 'spiffe_id'], meaning: () => peerText('spiffe_id') },
  { path: ['svidgate', 'peer', 'verified'], meaning: () => truth({ under: { kind: 'peer' }, over: TRUE }, ALWAYS) },
  // The set is for an Envoy that was attested; what it asks the gate is asked by the same.
  { path: ['svidgate', 'caller', 'kind'], meaning: () => constant('attested') },
  { path: ['svidgate', 'caller', 'spiffe_ids'], meaning: callerIdList },
  { path: ['svidgate', 'policy'], meaning: (_keys, { policy }) => constant(policy) },
  { path: ['source_principal'], meaning: () => peerText('principal') },
  { path: ['attributes', 'source', 'principal'], meaning: () => peerText('principal') },
  { path: [...HTTP, 'method'], meaning: () => fieldText(':method') },
  { path: [...HTTP, 'path'], meaning: targetText },
  { path: [...HTTP, 'host'], meaning: () => fieldText(':authority') },
  { path: [...HTTP, 'scheme'], meaning: () => fieldText(':scheme') },
  { path: [...HTTP, 'headers', ':path'], meaning: targetText },
  { path: [...HTTP, 'headers', '*'], meaning: ([name = '']) => header(name) },
  { path: ['parsed_path'], meaning: segmentList },
  { path: ['parsed_query', '*'], meaning: ([name = '']) => parameterList(name) },
  { path: ['attributes', 'destination', 'address', 'socketAddress', 'portValue'], meaning: destinationPort },
  { path: ['attributes', 'destination', 'address', 'socketAddress', 'address'], meaning: destinationAddress },
  { path: ['attributes', 'tlsSession', 'sni'], meaning: serverNameText },
  { path: ['parsed_body'], meaning: () => gateOnly('the body') },
  { path: ['truncated_body'], meaning: () => gateOnly('the body') },
  { path: [...HTTP, 'body'], meaning: () => gateOnly('the body') },
  { path: [...HTTP, 'rawBody'], meaning: () => gateOnly('the body') },
  { path: ['svidgate', 'jwt'], meaning: () => gateOnly('what a token says') },
  { path: ['svidgate', 'xfcc'], meaning: () => gateOnly('what a forwarded certificate says') },
  { path: ['svidgate', 'peer'], meaning: () => gateOnly('more of the peer than its SPIFFE ID') },
  { path: ['attributes', 'metadataContext'], meaning: () => gateOnly('the metadata of other filters') },
  { path: ['attributes', 'routeMetadataContext'], meaning: () => gateOnly('the metadata of the route') },
  { path: ['attributes', 'request', 'time'], meaning: clock },
  { path: [], meaning: () => unknown('not_visible', "this part of the input is not seen by Envoy's matchers") },
];

function gateOnly(what: string): Meaning {
  const hint = 'put what needs it into a rule of its own, so that the other rules are offloaded';
  return unknown('gate_only', `${what} is known to the gate alone`, hint);
}

function clock(): Meaning {
  return unknown('not_constant', 'the time of the request is another each time');
}

/** What Envoy shows the gate otherwise than its matchers see it. */
const NOT_THE_SAME: ReadonlySet<string> = new Set(['host', 'x-envoy-auth-partial-body']);

function header(name: string): Meaning {
  if (name === ':method' || name === ':authority' || name === ':scheme') return singleHeaderText(name);
  // Names are in lower case: another is never there.
  if (name !== name.toLowerCase()) return NOTHING;
  if (NOT_THE_SAME.has(name) || !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) {
    return unknown(
      'not_visible',
      `Envoy's matchers see the header ${JSON.stringify(name)} otherwise than the gate does`,
    );
  }
  return headerText(name);
}

const MAX_PORT = 65_535;

/** Port 0 is no port of a listener. */
function destinationPort(): NumberSymbol {
  const between = (from: number, to: number): Bounds => {
    const [low, high] = [Math.max(1, from), Math.min(MAX_PORT, to)];
    return low > high ? NEVER : exact(request({ kind: 'destination_port', from: low, to: high }));
  };
  return {
    kind: 'number',
    defined: between(1, MAX_PORT),
    compare: (comparison, wanted) => {
      const { under, over } = between(...rangeOf(comparison, wanted));
      if (comparison !== 'neq') return { under, over };
      const [below, above] = [between(1, wanted - 1), between(wanted + 1, MAX_PORT)];
      return { under: { kind: 'any', of: [below.under, above.under] }, over: TRUE };
    },
  };
}

function rangeOf(comparison: Comparison, wanted: number): [from: number, to: number] {
  switch (comparison) {
    case 'eq':
    case 'neq':
      return [wanted, wanted];
    case 'lt':
      return [1, wanted - 1];
    case 'lte':
      return [1, wanted];
    case 'gt':
      return [wanted + 1, MAX_PORT];
    case 'gte':
      return [wanted, MAX_PORT];
  }
}

function destinationAddress(): TextSymbol {
  return {
    kind: 'text',
    defined: UNKNOWN,
    test: (match) => {
      const found = match.kind === 'exact' ? destinationIp(match.text) : undefined;
      return found === undefined ? UNKNOWN : { under: request(found), over: TRUE };
    },
  };
}
