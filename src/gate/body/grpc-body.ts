import { SvidgateError } from '../../core/index.ts';
import { messageJson, type DescriptorSet } from '../../proto/index.ts';
import { NO_BODY, TRUNCATED_BODY, type GrpcBodyReader } from './parsed-body.ts';

/** A byte for compression, four for the length. */
const PREFIX_BYTES = 5;

/**
 * Reads the first message of a gRPC body by the method that the path names, as Go's protojson would write it. Null for
 * a method that the descriptors lack, one whose client streams, and a compressed message. Throws `invalid_request` for a
 * path that is no method, and a message that is none of its type.
 */
export function createGrpcBodyReader(descriptors: DescriptorSet): GrpcBodyReader {
  return (body, target) => {
    const [service, method, ...more] = target;
    if (service === undefined || method === undefined || more.length > 0) throw invalid('the path is no gRPC method');
    if (body.length < PREFIX_BYTES) throw invalid('the gRPC body is shorter than the prefix of a message');
    if (body[0] !== 0) return NO_BODY;
    const end = PREFIX_BYTES + body.readUInt32BE(1);
    if (end > body.length) return TRUNCATED_BODY;
    const found = descriptors.services.get(service)?.get(method);
    if (found === undefined || found.isClientStreaming) return NO_BODY;
    return { json: messageJson(descriptors, found.input, body.subarray(PREFIX_BYTES, end)), isTruncated: false };
  };
}

function invalid(message: string): SvidgateError {
  return new SvidgateError('invalid_request', message);
}
