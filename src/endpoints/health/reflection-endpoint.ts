import { SvidgateError } from '../../core/index.ts';
import {
  decodeMessage,
  encodeMessage,
  REFLECTION_SERVICE,
  ServerReflectionRequest,
  ServerReflectionResponse,
  type ProtoFile,
  type ServerReflectionResponseInit,
} from '../../proto/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import { ProtoFiles } from './proto-files.ts';

const MAX_REQUEST_BYTES = 64 * 1024;

/** gRPC's codes, which stand in a response that tells of a failure. */
const NOT_FOUND = 5;
const INVALID_ARGUMENT = 3;

type Answer = Omit<ServerReflectionResponseInit, 'validHost' | 'originalRequest'>;

/**
 * gRPC server reflection for these methods and its own, in both versions. Descriptors were made before the start; nothing
 * is generated at run time.
 */
export function createReflectionEndpoint(methods: readonly { readonly path: string }[]): readonly GrpcMethod[] {
  const { v1, v1alpha } = REFLECTION_SERVICE;
  const services = [...new Set([...methods, v1, v1alpha].map(({ path }) => serviceOf(path)))].sort();
  const files = new ProtoFiles(services);
  return [v1, v1alpha].map(({ path }) => ({
    kind: 'stream',
    path,
    async *handle(requests) {
      for await (const bytes of requests) {
        const request = decodeMessage(ServerReflectionRequest, bytes, MAX_REQUEST_BYTES);
        yield encodeMessage(ServerReflectionResponse, {
          validHost: request.host,
          originalRequest: request,
          ...answer(request, services, files),
        });
      }
    },
  }));
}

function answer(request: ServerReflectionRequest, services: readonly string[], files: ProtoFiles): Answer {
  switch (request.messageRequest) {
    case 'listServices':
      return { listServicesResponse: { service: services.map((name) => ({ name })) } };
    case 'fileByFilename':
      return fileAnswer(files.named(request.fileByFilename ?? ''), files);
    case 'fileContainingSymbol':
      return fileAnswer(files.ofSymbol(request.fileContainingSymbol ?? ''), files);
    case 'allExtensionNumbersOfType': {
      const baseTypeName = request.allExtensionNumbersOfType ?? '';
      if (files.ofSymbol(baseTypeName) === undefined) return failure(NOT_FOUND, 'there is no such type');
      return { allExtensionNumbersResponse: { baseTypeName } };
    }
    case 'fileContainingExtension':
      return failure(NOT_FOUND, 'there are no extensions');
    case undefined:
      return failure(INVALID_ARGUMENT, 'the request asks for nothing that is known here');
  }
}

function fileAnswer(file: ProtoFile | undefined, files: ProtoFiles): Answer {
  if (file === undefined) return failure(NOT_FOUND, 'there is no such file or symbol');
  const descriptors = [...files.withImports(file)].map(({ descriptor }) => Buffer.from(descriptor, 'base64'));
  return { fileDescriptorResponse: { fileDescriptorProto: descriptors } };
}

function failure(errorCode: number, errorMessage: string): Answer {
  return { errorResponse: { errorCode, errorMessage } };
}

/** `a.B` of `/a.B/Method`. */
function serviceOf(path: string): string {
  const service = /^\/([^/]+)\/[^/]+$/.exec(path)?.[1];
  if (service === undefined) throw new SvidgateError('internal', `${path} is no gRPC method`);
  return service;
}
