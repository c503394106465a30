/** The schema of the input is compared with documents in which everything is that a request can have. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INPUT_SCHEMA, type JsonSchema } from '../../../src/gate/input-schema.ts';
import { inputDocument, type InputFacts } from '../../../src/gate/input-document.ts';
import { CheckRequest, decodeMessage, encodeMessage } from '../../../src/proto/index.ts';
import { parseSpiffeId } from '../../../src/spiffe/index.ts';

const id = parseSpiffeId('spiffe://prod.acme.test/web');
const text = 'x';

const addresses = [
  { socketAddress: { protocol: 1, address: text, portValue: 1, resolverName: text, ipv4Compat: true } },
  { socketAddress: { namedPort: text } },
  { pipe: { path: text, mode: 1 } },
  { envoyInternalAddress: { serverListenerName: text, endpointId: text } },
] as const;

const metadata = {
  filterMetadata: { 'envoy.filters': { fields: { key: { stringValue: text } } } },
  typedFilterMetadata: { 'envoy.filters': { type_url: text, value: Buffer.from(text) } },
};

const http = {
  id: text,
  method: text,
  headers: { 'x-a': text },
  path: '/a?b=c',
  host: text,
  scheme: text,
  query: text,
  fragment: text,
  size: 7,
  protocol: text,
  body: text,
  rawBody: Buffer.from(text),
  headerMap: { headers: [{ key: text, value: text, rawValue: Buffer.from(text) }] },
};

const verified: InputFacts = {
  caller: { kind: 'tls', listener: 'gate', spiffeIds: [id] },
  identity: {
    peer: { verified: true, spiffeId: id, serial: '7' },
    xfcc: {
      verified: true,
      spiffeId: id,
      elements: [{ verified: true, by: id, spiffeId: id, hash: text, subject: text, dnsNames: [text] }],
    },
    tokens: [
      { verified: true, header: text, provider: text, claims: { sub: text }, claimsText: '{"sub":"x"}', spiffeId: id },
    ],
  },
  policy: 'default',
};

const refused: InputFacts = {
  caller: { kind: 'anonymous', listener: 'gate' },
  identity: {
    peer: { verified: false, reason: 'no_certificate' },
    xfcc: { verified: false, reason: 'not_all_verified', elements: [{ verified: false, reason: 'ambiguous' }] },
    tokens: [
      { verified: false, header: text, provider: text, reason: 'expired' },
      { verified: false, header: text, provider: text, reason: 'expired' },
    ],
  },
  policy: 'default',
};

function documents(): readonly unknown[] {
  return addresses.flatMap((address) => {
    const peer = { address, service: text, labels: { a: text }, principal: text, certificate: text };
    const request = decodeMessage(
      CheckRequest,
      encodeMessage(CheckRequest, {
        attributes: {
          source: peer,
          destination: peer,
          request: { time: { seconds: 7, nanos: 7 }, http },
          contextExtensions: { a: text },
          metadataContext: metadata,
          routeMetadataContext: metadata,
          tlsSession: { sni: text },
        },
      }),
      2 ** 20,
    );
    return [verified, refused].map((facts) => {
      const bytes = inputDocument(request, facts, { skipsBody: false, path: '/b?c=d' })();
      return JSON.parse(Buffer.from(bytes).toString('utf8')) as unknown;
    });
  });
}

/** `a.b: string` for each key, `*` for any, `[]` for elements. */
function pathsOfSchema(schema: JsonSchema, path = ''): readonly string[] {
  const { type = 'any', properties = {}, additionalProperties, items } = schema;
  const below = [
    ...Object.entries(properties).flatMap(([key, child]) => pathsOfSchema(child, `${path}.${key}`)),
    ...(typeof additionalProperties === 'object' ? pathsOfSchema(additionalProperties, `${path}.*`) : []),
    ...(items === undefined ? [] : pathsOfSchema(items, `${path}[]`)),
  ];
  return [`${path}: ${type}`, ...below];
}

function pathsOfValue(value: unknown, schema: JsonSchema | undefined, path = ''): readonly string[] {
  if (schema === undefined) return [`${path}: not in the schema`];
  const { properties, additionalProperties, items, type = 'any' } = schema;
  if (type === 'any') return [`${path}: any`];
  if (Array.isArray(value))
    return [
      `${path}: array`,
      ...(value as readonly unknown[]).flatMap((each) => pathsOfValue(each, items, `${path}[]`)),
    ];
  if (typeof value !== 'object' || value === null)
    return [`${path}: ${Number.isInteger(value) ? 'integer' : value === null ? 'null' : typeof value}`];
  return [
    `${path}: object`,
    ...Object.entries(value).flatMap(([key, child]) =>
      typeof additionalProperties === 'object'
        ? pathsOfValue(child, additionalProperties, `${path}.*`)
        : pathsOfValue(child, properties?.[key], `${path}.${key}`),
    ),
  ];
}

test('everything that is shown to a policy is in the schema, with its type, and nothing else is', () => {
  const shown = new Set(documents().flatMap((document) => pathsOfValue(document, INPUT_SCHEMA)));
  const known = new Set(pathsOfSchema(INPUT_SCHEMA));
  assert.deepEqual([...shown.difference(known)], []);
  assert.deepEqual([...known.difference(shown)], []);
});
