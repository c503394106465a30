import { SvidgateError } from '../../core/index.ts';
import { decodeMessage, DiscoveryRequest, SECRET_TYPE_URL, structToJson, type Node } from '../../proto/index.ts';
import { parseFlag, type EnvoyNode } from './envoy-node.ts';
import { normalizeNames } from './resource-names.ts';
import type { SubscriptionRequest } from './subscription.ts';

/** Envoy lists its thousand extensions in the first request: some 100 KiB. */
const MAX_REQUEST_BYTES = 1024 * 1024;
const MAX_REFUSAL_LENGTH = 512;
/** Of `node.id` and `node.cluster`, which are kept for as long as the stream lives. */
const MAX_NODE_TEXT_LENGTH = 256;

/** Reads a DiscoveryRequest for secrets. Throws `invalid_request` or `too_large`. */
export function readDiscoveryRequest(bytes: Uint8Array): SubscriptionRequest {
  const request = decodeMessage(DiscoveryRequest, bytes, MAX_REQUEST_BYTES);
  if (request.typeUrl !== '' && request.typeUrl !== SECRET_TYPE_URL) {
    throw new SvidgateError('invalid_request', `type_url must be ${SECRET_TYPE_URL}`);
  }
  return {
    names: normalizeNames(request.resourceNames),
    versionInfo: request.versionInfo,
    responseNonce: request.responseNonce,
    refusal: request.errorDetail === null ? undefined : startOf(request.errorDetail.message, MAX_REFUSAL_LENGTH),
    node: request.node === null ? undefined : readNode(request.node),
  };
}

function readNode(node: Node): EnvoyNode {
  const version = node.userAgentBuildVersion?.version;
  const metadata = node.metadata === null ? {} : structToJson(node.metadata);
  return {
    id: startOf(node.id, MAX_NODE_TEXT_LENGTH),
    cluster: startOf(node.cluster, MAX_NODE_TEXT_LENGTH),
    version:
      version === null || version === undefined
        ? undefined
        : { major: version.majorNumber, minor: version.minorNumber },
    disableSpiffeCertValidation: Object.hasOwn(metadata, 'disable_spiffe_cert_validation')
      ? parseFlag(metadata['disable_spiffe_cert_validation'])
      : undefined,
  };
}

/** A copy: a slice would keep the whole text in memory, which can be as long as a message. */
function startOf(text: string, length: number): string {
  return text.length <= length ? text : Buffer.from(text.slice(0, length), 'utf8').toString('utf8');
}
