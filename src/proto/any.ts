import { SvidgateError } from '../core/index.ts';
import { decodeMessage } from './codec.ts';
import type { Any, AnyInit, Codec } from './messages.ts';

const PREFIX = 'type.googleapis.com';

/** The type URL of SDS resources. */
export const SECRET_TYPE_URL = `${PREFIX}/envoy.extensions.transport_sockets.tls.v3.Secret`;

/** The type URL of ECDS resources. */
export const EXTENSION_CONFIG_TYPE_URL = `${PREFIX}/envoy.config.core.v3.TypedExtensionConfig`;

/** The type URL of what goes around a resource with a version or a time to live of its own. */
export const RESOURCE_TYPE_URL = `${PREFIX}/envoy.service.discovery.v3.Resource`;

/** The type URL of the SPIFFE validator's configuration. */
export const SPIFFE_CERT_VALIDATOR_TYPE_URL = `${PREFIX}/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig`;

/** google.protobuf.Any: a message that says itself what it is. */
export function packAny(typeUrl: string, bytes: Uint8Array): AnyInit {
  return { type_url: typeUrl, value: bytes };
}

/** Reads what an Any holds; `invalid_request` where it is of another type than the codec's. */
export function unpackAny<Decoded>(codec: Codec<Decoded, never>, any: Any, maxBytes: number): Decoded {
  if (any.type_url !== codec.getTypeUrl()) {
    throw new SvidgateError('invalid_request', `an Any of ${codec.name} was expected`);
  }
  return decodeMessage(codec, any.value, maxBytes);
}
