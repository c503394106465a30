import { structToJson, type CheckRequestInit, type CheckResponse, type JsonObject } from '../../../src/proto/index.ts';

/** What Envoy does with a reply. */
export type Effect =
  | {
      readonly kind: 'allow';
      /** Of the request on its way on. */
      readonly headers: Readonly<Record<string, string>>;
      readonly parametersToSet: Readonly<Record<string, string>>;
      readonly parametersToRemove: readonly string[];
      /** For the response, by name. */
      readonly responseHeaders: readonly HeaderLine[];
      readonly metadata: JsonObject;
    }
  | {
      readonly kind: 'deny';
      readonly status: number;
      /** By name. */
      readonly headers: readonly HeaderLine[];
      readonly body: string;
      readonly metadata: JsonObject;
    }
  /** A gRPC error: what it means is up to `failure_mode_allow`. */
  | { readonly kind: 'error'; readonly message: string };

type HeaderLine = readonly [name: string, value: string];
type Options = NonNullable<CheckResponse['okResponse']>['headers'];

/** As Envoy 1.40 reads it: code 0 allows, whatever else there is; a deny without a status is a 403. */
export function effectOf(reply: CheckResponse, request: CheckRequestInit): Effect {
  const { decision_id: _, ...metadata } = reply.dynamicMetadata === null ? {} : structToJson(reply.dynamicMetadata);
  if ((reply.status?.code ?? 0) !== 0) {
    const { deniedResponse: denied } = reply;
    const status = denied?.status?.code ?? 403;
    return { kind: 'deny', status, headers: lines(denied?.headers ?? []), body: denied?.body ?? '', metadata };
  }
  const { okResponse: ok } = reply;
  return {
    kind: 'allow',
    headers: requestHeaders(request, ok?.headers ?? [], ok?.headersToRemove ?? []),
    parametersToSet: Object.fromEntries((ok?.queryParametersToSet ?? []).map(({ key, value }) => [key, value])),
    parametersToRemove: [...(ok?.queryParametersToRemove ?? [])].sort(),
    responseHeaders: lines(ok?.responseHeadersToAdd ?? []),
    metadata,
  };
}

/** Without `append` a value replaces the one before; with it, it joins one that is there. */
function requestHeaders(
  request: CheckRequestInit,
  options: Options,
  removed: readonly string[],
): Readonly<Record<string, string>> {
  const given = request.attributes?.request?.http?.headers ?? {};
  const headers = new Map(Object.entries(given).map(([name, value]): HeaderLine => [name.toLowerCase(), value]));
  for (const { header, append } of options) {
    const name = header?.key.toLowerCase() ?? '';
    const value = header?.value ?? '';
    const before = headers.get(name);
    if (append?.value !== true) headers.set(name, value);
    else if (before !== undefined) headers.set(name, `${before},${value}`);
  }
  for (const name of removed)
    if (!name.startsWith(':') && name.toLowerCase() !== 'host') headers.delete(name.toLowerCase());
  return Object.fromEntries([...headers].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function lines(options: Options): readonly HeaderLine[] {
  const all = options.map(({ header }): HeaderLine => [header?.key.toLowerCase() ?? '', header?.value ?? '']);
  return all.sort(([a], [b]) => (a === b ? 0 : a < b ? -1 : 1));
}
