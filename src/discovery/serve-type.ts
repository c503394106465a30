import { fetchResources, type FetchContext } from './fetch-resources.ts';
import { streamResources, type StreamContext, type StreamProtocol } from './resource-stream.ts';
import type { ResourceType } from './resource-type.ts';

/** One type of resources, whatever its callers are to it. */
export interface ServedType extends Pick<ResourceType<unknown>, 'typeUrl' | 'service' | 'unknownName'> {
  stream(
    protocol: StreamProtocol,
    source: { readonly requests: AsyncIterable<Uint8Array>; readonly signal: AbortSignal },
    context: StreamContext,
  ): AsyncGenerator<Uint8Array, void, void>;
  fetch(request: Uint8Array, context: FetchContext): Promise<Uint8Array>;
}

export function serveType<Subject>(type: ResourceType<Subject>): ServedType {
  const { typeUrl, service, unknownName } = type;
  return {
    typeUrl,
    service,
    unknownName,
    stream: (protocol, { requests, signal }, context) => {
      const subjects = type.subjects(context.caller, signal);
      return streamResources(protocol, { type, requests, subjects }, context);
    },
    fetch: (request, context) => fetchResources(request, type, context),
  };
}
