/** What Envoy sees of somebody, and what it tells the gate. */
import type { Cast } from '../../hunt/reading.ts';
import { FIRST_MOMENT } from '../../hunt/timeline.ts';
import type { EnvoyPeer, EnvoyRequest } from '../../../src/offload/index.ts';
import type { CheckRequestInit } from '../../../src/proto/index.ts';
import type { Draw, Pair } from './draw.ts';

export const DESTINATION = '10.0.0.7';

const XFCC = 'x-forwarded-client-cert';

/** With those that its token and its hops stand in. */
function headersOf({ headers, token, hops }: Draw, { people, hops: known }: Cast): readonly Pair[] {
  const [found, hop] = [people.tokens.get(token), known.get(hops)];
  return [
    ...headers,
    ...(found === undefined ? [] : [['authorization', `Bearer ${found.text}`] as const]),
    ...(hop === undefined ? [] : [[XFCC, Buffer.from(hop.text).toString('latin1')] as const]),
  ];
}

/** As Envoy's filters have it. */
export function envoyRequestOf(draw: Draw, cast: Cast): EnvoyRequest {
  const peer = peerOf(draw.certificate, cast);
  return {
    headers: [
      [':method', draw.method],
      ...(draw.path === '' ? [] : [[':path', draw.path] as const]),
      [':authority', draw.authority],
      [':scheme', 'https'],
      ...headersOf(draw, cast).filter(([name]) => name !== 'host'),
    ],
    ...(peer === undefined ? {} : { peer }),
    destination: { address: DESTINATION, port: draw.port },
    serverName: draw.serverName,
  };
}

/**
 * Certificates that nobody can show in a handshake have no DER. Envoy checked against the roots that there were first, when the
 * connection was made, and by less strict rules than the gate.
 */
function peerOf(certificate: string, { people }: Cast): EnvoyPeer | undefined {
  const credential = people.credentials.get(certificate);
  if (credential === undefined || credential.der.length === 0) return undefined;
  const { uris, root = '', name, notBefore, notAfter } = credential;
  const now = Date.now();
  const isGood = FIRST_MOMENT.roots.includes(root) || SIGNED_BY_FIRST.has(name);
  const dnsNames = name === NAME_ONLY ? ['alice.example.test'] : [];
  return { uris, dnsNames, subject: 'CN=x', isVerified: isGood && notBefore <= now && now <= notAfter };
}

const NAME_ONLY = 'DNS name only';

/** Envoy takes these, the gate does not. */
const SIGNED_BY_FIRST: ReadonlySet<string> = new Set(['two URIs', NAME_ONLY, 'upper case']);

/** What Envoy asks the gate with. */
export function checkRequestOf(draw: Draw, cast: Cast): CheckRequestInit {
  const credential = people(draw, cast);
  const isSeen = credential !== undefined && credential.der.length > 0;
  const map = new Map<string, string>();
  const { headers } = envoyRequestOf(draw, cast);
  for (const [name, value] of headers) {
    const before = map.get(name);
    map.set(name, before === undefined ? value : `${before},${value}`);
  }
  const principal = credential?.uris[0] ?? (draw.certificate === NAME_ONLY ? 'alice.example.test' : 'CN=x');
  return {
    attributes: {
      source: isSeen ? { principal, certificate: credential.text } : {},
      destination: {
        address: { socketAddress: { address: DESTINATION, portValue: draw.port } },
        principal: 'spiffe://example.test/orders',
      },
      request: {
        http: {
          method: draw.method,
          path: cleanText(draw.path),
          host: draw.authority,
          scheme: 'https',
          protocol: 'HTTP/1.1',
          headers: Object.fromEntries([...map].map(([name, value]) => [name, cleanText(value)])),
          body: draw.body,
        },
      },
      tlsSession: { sni: draw.serverName },
      contextExtensions: { 'svidgate.policy': 'hunt' },
    },
  };
}

const people = ({ certificate }: Draw, cast: Cast) => cast.people.credentials.get(certificate);

/** Envoy writes `!` for each byte that is not UTF-8. */
export function cleanText(bytes: string): string {
  return bytes.replaceAll(SEQUENCES, (sequence) => {
    const text = Buffer.from(sequence, 'latin1').toString('utf8');
    return text.includes('�') && sequence !== '\xef\xbf\xbd' ? '!'.repeat(sequence.length) : text;
  });
}

const SEQUENCES =
  /[^\u0080-\u00FF]+|[\u00C2-\u00DF][\u0080-\u00BF]|[\u00E0-\u00EF][\u0080-\u00BF]{2}|[\u00F0-\u00F4][\u0080-\u00BF]{3}|[^]/g;
