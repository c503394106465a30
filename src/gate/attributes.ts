import {
  structToJson,
  type Address,
  type AttributeContext,
  type HttpRequest,
  type Metadata,
  type Peer,
  type Timestamp,
} from '../proto/index.ts';
import { rawNumber, type InputValue } from './input-json.ts';

type InputObject = Readonly<Record<string, InputValue | undefined>>;

/**
 * The attributes of a check request as opa-envoy-plugin shows them: lowerCamelCase names, only fields that are set, a
 * message that is there but empty as `{}`, 64-bit numbers exact, enums as numbers, bytes in base64, times as seconds
 * and nanos.
 * @param path what the policy sees in place of the request's path, where that is another
 */
export function attributesInput(attributes: AttributeContext, path?: string): InputObject {
  return {
    source: present(attributes.source, peerInput),
    destination: present(attributes.destination, peerInput),
    request: present(attributes.request, (request) => ({
      time: present(request.time, timeInput),
      http: present(request.http, (http) => httpInput(http, path)),
    })),
    contextExtensions: filled(attributes.contextExtensions),
    metadataContext: present(attributes.metadataContext, metadataInput),
    routeMetadataContext: present(attributes.routeMetadataContext, metadataInput),
    tlsSession: present(attributes.tlsSession, (session) => ({ sni: text(session.sni) })),
  };
}

function peerInput(peer: Peer): InputObject {
  return {
    address: present(peer.address, addressInput),
    service: text(peer.service),
    labels: filled(peer.labels),
    principal: text(peer.principal),
    certificate: text(peer.certificate),
  };
}

function addressInput(address: Address): InputObject {
  return {
    socketAddress: present(address.socketAddress, (socket) => ({
      protocol: number(socket.protocol),
      address: text(socket.address),
      portValue: socket.portValue ?? undefined,
      namedPort: socket.namedPort ?? undefined,
      resolverName: text(socket.resolverName),
      ipv4Compat: socket.ipv4Compat || undefined,
    })),
    pipe: present(address.pipe, (pipe) => ({ path: text(pipe.path), mode: number(pipe.mode) })),
    envoyInternalAddress: present(address.envoyInternalAddress, (internal) => ({
      serverListenerName: internal.serverListenerName ?? undefined,
      endpointId: text(internal.endpointId),
    })),
  };
}

function httpInput(http: HttpRequest, path?: string): InputObject {
  const size = http.size.toString();
  return {
    id: text(http.id),
    method: text(http.method),
    headers: filled(path === undefined ? http.headers : withPath(http.headers, path)),
    path: text(path ?? http.path),
    host: text(http.host),
    scheme: text(http.scheme),
    query: text(http.query),
    fragment: text(http.fragment),
    size: size === '0' ? undefined : rawNumber(size),
    protocol: text(http.protocol),
    body: text(http.body),
    rawBody: bytes(http.rawBody),
    headerMap: present(http.headerMap, ({ headers }) => ({
      headers:
        headers.length === 0
          ? undefined
          : headers.map((header) => ({
              key: text(header.key),
              value: text(header.value),
              rawValue: bytes(header.rawValue),
            })),
    })),
  };
}

/** Envoy shows its pseudo headers among the others. */
function withPath(headers: Readonly<Record<string, string>>, path: string): Readonly<Record<string, string>> {
  return Object.hasOwn(headers, ':path') ? { ...headers, ':path': path } : headers;
}

function timeInput(time: Timestamp): InputObject {
  const seconds = time.seconds.toString();
  return { seconds: seconds === '0' ? undefined : rawNumber(seconds), nanos: number(time.nanos) };
}

function metadataInput(metadata: Metadata): InputObject {
  const plain = Object.entries(metadata.filterMetadata);
  const typed = Object.entries(metadata.typedFilterMetadata);
  return {
    filterMetadata:
      plain.length === 0 ? undefined : Object.fromEntries(plain.map(([key, value]) => [key, structToJson(value)])),
    typedFilterMetadata:
      typed.length === 0
        ? undefined
        : Object.fromEntries(
            typed.map(([key, any]) => [key, { typeUrl: text(any.type_url), value: bytes(any.value) }]),
          ),
  };
}

function present<T>(message: T | null, convert: (message: T) => InputObject): InputObject | undefined {
  return message === null ? undefined : convert(message);
}

function text(value: string): string | undefined {
  return value === '' ? undefined : value;
}

function number(value: number): number | undefined {
  return value === 0 ? undefined : value;
}

function bytes(value: Uint8Array): string | undefined {
  return value.length === 0 ? undefined : Buffer.from(value).toString('base64');
}

function filled(map: Readonly<Record<string, string>>): Readonly<Record<string, string>> | undefined {
  return Object.keys(map).length === 0 ? undefined : map;
}
