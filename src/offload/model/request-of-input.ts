import { bytesOf } from './text-match.ts';
import type { EnvoyRequest } from './envoy-request.ts';

/**
 * The request that an input document of the gate tells of, as Envoy had it: for recorded decisions. Undefined for what is no
 * request over HTTP, or lacks parts that were not recorded. A verified peer has one URI SAN; of others the principal alone is known.
 */
export function requestOfInput(input: unknown): EnvoyRequest | undefined {
  const attributes = member(input, 'attributes');
  const http = member(member(attributes, 'request'), 'http');
  const method = text(member(http, 'method'));
  if (method === undefined) return undefined;
  const headers = headersOf(http, method);
  const socket = member(member(member(attributes, 'destination'), 'address'), 'socketAddress');
  const [address, port] = [text(member(socket, 'address')), member(socket, 'portValue')];
  const peer = peerOf(input, attributes);
  return {
    headers,
    ...(peer === undefined ? {} : { peer }),
    ...(address === undefined || typeof port !== 'number' ? {} : { destination: { address, port } }),
    serverName: text(member(member(attributes, 'tlsSession'), 'sni')) ?? '',
  };
}

function headersOf(http: unknown, method: string): EnvoyRequest['headers'] {
  const given = member(http, 'headers');
  const pairs = Object.entries(typeof given === 'object' && given !== null ? given : {}).flatMap(([name, value]) =>
    typeof value === 'string' ? [[name, bytesOf(value)] as const] : [],
  );
  const own = new Map(pairs);
  const pseudo = [
    [':method', method],
    [':path', text(member(http, 'path'))],
    [':authority', text(member(http, 'host'))],
    [':scheme', text(member(http, 'scheme'))],
  ] as const;
  const missing = pseudo.flatMap(([name, value]) =>
    value === undefined || own.has(name) ? [] : [[name, bytesOf(value)] as const],
  );
  return [...missing, ...pairs];
}

function peerOf(input: unknown, attributes: unknown): EnvoyRequest['peer'] {
  const verified = member(member(input, 'svidgate'), 'peer');
  const spiffeId = text(member(verified, 'spiffe_id'));
  if (member(verified, 'verified') === true && spiffeId !== undefined) {
    return { uris: [spiffeId], dnsNames: [], subject: '', isVerified: true };
  }
  const source = member(attributes, 'source');
  const principal = text(member(input, 'source_principal')) ?? text(member(source, 'principal'));
  return principal === undefined ? undefined : { uris: [principal], dnsNames: [], subject: '', isVerified: false };
}

function member(value: unknown, key: string): unknown {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject && Object.hasOwn(value, key) ? (value as Readonly<Record<string, unknown>>)[key] : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
