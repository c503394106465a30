/** A part of a JSON Schema (draft 7), as far as OPA's type checker reads it. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: false | JsonSchema;
  readonly items?: JsonSchema;
}

/** Any JSON value. */
const ANY: JsonSchema = {};

/**
 * What the input document of a policy can hold: inputDocument() makes nothing else. Every key may be missing. Envoy fills in
 * what its filter is configured for.
 */
export const INPUT_SCHEMA: JsonSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'The input of a policy',
  ...object({
    attributes: object({
      source: peer(),
      destination: peer(),
      request: object({ time: timestamp(), http: http() }),
      contextExtensions: mapOf(text('set in the configuration of the route')),
      metadataContext: metadata(),
      routeMetadataContext: metadata(),
      tlsSession: object({ sni: text('the server name of the TLS handshake') }),
    }),
    parsed_path: list(text(), 'the segments of the path, unescaped once'),
    parsed_query: mapOf(list(text())),
    parsed_body: { ...ANY, description: 'by content type; null where there is none' },
    truncated_body: flag('whether Envoy sent a part of the body only'),
    source_principal: text('what Envoy read from a certificate; nobody verified it'),
    version: object({ ext_authz: text(), encoding: text() }),
    svidgate: object({
      caller: object({
        kind: text('attested, tls or anonymous'),
        spiffe_ids: list(text(), 'of the service whose Envoy asks'),
        listener: text('gate, or gate:NAME'),
      }),
      peer: object({
        verified: flag('whether the certificate checks against the live bundles'),
        reason: text('why it does not'),
        spiffe_id: text('where it is verified'),
        serial: text('of the certificate, in hex'),
      }),
      xfcc: object({
        verified: flag(),
        reason: text(),
        spiffe_id: text(),
        elements: list(
          object({
            verified: flag(),
            reason: text(),
            by: text(),
            spiffe_id: text(),
            hash: text(),
            subject: text(),
            dns: list(text()),
          }),
        ),
      }),
      jwt: object({ ...token(), tokens: list(object(token())) }),
      policy: text('the name of the policy that is asked'),
      raw_path: text('the path as it came, where another one is shown'),
    }),
  }),
};

function peer(): JsonSchema {
  return object({
    address: object({
      socketAddress: object({
        protocol: integer('0 is TCP, 1 is UDP'),
        address: text(),
        portValue: integer(),
        namedPort: text(),
        resolverName: text(),
        ipv4Compat: flag(),
      }),
      pipe: object({ path: text(), mode: integer() }),
      envoyInternalAddress: object({ serverListenerName: text(), endpointId: text() }),
    }),
    service: text(),
    labels: mapOf(text()),
    principal: text('what Envoy read from a certificate; nobody verified it'),
    certificate: text('as the other side presented it'),
  });
}

function http(): JsonSchema {
  return object({
    id: text(),
    method: text(),
    headers: mapOf(text('the values of one name, joined by commas; names in lower case')),
    path: text('with the query'),
    host: text(),
    scheme: text(),
    query: text(),
    fragment: text(),
    size: integer('of the request in bytes; -1 where nobody knows'),
    protocol: text('HTTP/1.1, HTTP/2, …'),
    body: text('with with_request_body'),
    rawBody: text('with pack_as_bytes, in base64'),
    headerMap: object({ headers: list(object({ key: text(), value: text(), rawValue: text('in base64') })) }),
  });
}

function metadata(): JsonSchema {
  return object({
    filterMetadata: mapOf(ANY),
    typedFilterMetadata: mapOf(object({ typeUrl: text(), value: text('in base64') })),
  });
}

function timestamp(): JsonSchema {
  return object({ seconds: integer('since 1970'), nanos: integer() });
}

function token(): Readonly<Record<string, JsonSchema>> {
  return {
    verified: flag(),
    header: text('where the token was found'),
    provider: text('the name of its issuer in the configuration'),
    reason: text('why it is not verified'),
    spiffe_id: text('of a JWT-SVID'),
    claims: { ...mapOf(ANY), description: 'where it is verified' },
  };
}

function object(properties: Readonly<Record<string, JsonSchema>>): JsonSchema {
  return { type: 'object', properties, additionalProperties: false };
}

function mapOf(values: JsonSchema): JsonSchema {
  return { type: 'object', additionalProperties: values };
}

function list(items: JsonSchema, description?: string): JsonSchema {
  return { type: 'array', items, ...describe(description) };
}

function text(description?: string): JsonSchema {
  return { type: 'string', ...describe(description) };
}

function integer(description?: string): JsonSchema {
  return { type: 'integer', ...describe(description) };
}

function flag(description?: string): JsonSchema {
  return { type: 'boolean', ...describe(description) };
}

function describe(description: string | undefined): { readonly description?: string } {
  return description === undefined ? {} : { description };
}
