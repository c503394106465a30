/** Discovery messages as bytes, where decoding them would take more time than what is measured. */
import { DeltaDiscoveryRequest, DiscoveryRequest, encodeMessage, SECRET_TYPE_URL } from '../../src/proto/index.ts';

/** State of the world, or incremental. */
export type Protocol = 'sotw' | 'delta';

/** Field numbers. */
const REQUEST = {
  sotw: { version: 1, nonce: 5 },
  delta: { version: undefined, nonce: 6 },
} as const;
const RESPONSE = {
  sotw: { version: 1, nonce: 5 },
  delta: { version: undefined, nonce: 5 },
} as const;

export interface Subscription {
  readonly first: Uint8Array;
  /** The message that acknowledges a response. Throws when that is none. */
  acknowledge(response: Buffer): Buffer;
}

/** What one stream sends that asks for these names. */
export function subscriptionTo(
  names: readonly string[],
  protocol: Protocol,
  typeUrl: string = SECRET_TYPE_URL,
): Subscription {
  const node = {
    id: 'bench',
    userAgentName: 'envoy',
    userAgentBuildVersion: { version: { majorNumber: 1, minorNumber: 40, patch: 0 } },
  };
  const [first, rest] =
    protocol === 'sotw'
      ? [
          encodeMessage(DiscoveryRequest, { typeUrl, resourceNames: names, node }),
          encodeMessage(DiscoveryRequest, { typeUrl, resourceNames: names }),
        ]
      : [
          encodeMessage(DeltaDiscoveryRequest, { typeUrl, resourceNamesSubscribe: names, node }),
          encodeMessage(DeltaDiscoveryRequest, { typeUrl }),
        ];
  return {
    first,
    acknowledge(response) {
      const { version, nonce } = textFields(response, RESPONSE[protocol]);
      const fields = REQUEST[protocol];
      const acknowledged = fields.version === undefined ? [] : [textField(fields.version, version)];
      return Buffer.concat([...acknowledged, rest, textField(fields.nonce, nonce)]);
    },
  };
}

function textField(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([field * 8 + 2, bytes.length]), bytes]);
}

/** Version and nonce, of at most 127 bytes each. */
function textFields(
  message: Buffer,
  fields: { readonly version: number | undefined; readonly nonce: number },
): { readonly version: Buffer; readonly nonce: Buffer } {
  let version: Buffer = Buffer.alloc(0);
  let nonce: Buffer | undefined;
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    if (tag % 8 !== 2) {
      varint(); // `canary` is all that is not text, bytes or message
      continue;
    }
    const length = varint();
    const field = Math.floor(tag / 8);
    if (field === fields.version) version = message.subarray(at, at + length);
    else if (field === fields.nonce) nonce = message.subarray(at, at + length);
    at += length;
  }
  if (nonce === undefined || at !== message.length) throw new Error('an answer of SDS is no discovery response');
  return { version, nonce };
}
