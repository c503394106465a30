import type { Clock } from '../../core/index.ts';
import type { Caller, RefusedQuestion } from '../../gate/index.ts';
import { readXfcc } from '../../peer/index.ts';
import { CheckRequest, decodeMessage, encodeMessage, type CheckRequestInit } from '../../proto/index.ts';
import type { HttpCall } from '../../transport/index.ts';
import { AskedHeaders } from './asked-headers.ts';
import { splitAskedPath, type AskedPath, type RequestScheme } from './asked-path.ts';
import { readOriginal, type OriginalRequest } from './original-request.ts';

export interface CheckRequestRules {
  readonly scheme: RequestScheme;
  readonly path: AskedPath;
  /** Whether the peer's certificate is the one in `x-forwarded-client-cert`, which the caller then writes itself. */
  readonly isPeerInXfcc: boolean;
  readonly clock: Clock;
}

/** As Envoy's gRPC has it: the same request is the same input for a policy. */
export function checkRequestOf(
  call: HttpCall,
  caller: Caller,
  rules: CheckRequestRules,
): CheckRequest | RefusedQuestion {
  const path = splitAskedPath(call.target, rules.path);
  if (path === undefined) return { refused: 'the path of the call' };
  const headers = new AskedHeaders(call.headers);
  const original = readOriginal({ method: call.method, rest: path.rest, headers }, rules.scheme);
  if ('refused' in original) return original;
  const now = rules.clock.now();
  const init: CheckRequestInit = {
    attributes: {
      ...sourceOf(original, caller, rules),
      request: {
        time: { seconds: Math.floor(now / 1000), nanos: (Math.floor(now) % 1000) * 1e6 },
        http: {
          method: original.method,
          path: original.path,
          host: original.host,
          scheme: original.scheme,
          headers: withPseudoHeaders(original),
          size: call.body.length,
          ...bodyOf(call.body),
        },
      },
      ...(path.policy === undefined ? {} : { contextExtensions: { 'svidgate.policy': path.policy } }),
    },
  };
  return decodeMessage(CheckRequest, encodeMessage(CheckRequest, init), Infinity);
}

type SourceInit = NonNullable<NonNullable<CheckRequestInit['attributes']>['source']>;

function sourceOf(
  original: OriginalRequest,
  caller: Caller,
  { isPeerInXfcc }: CheckRequestRules,
): { readonly source?: SourceInit } {
  const { clientAddress } = original;
  const source: SourceInit = {
    ...(clientAddress === '' ? {} : { address: { socketAddress: { address: clientAddress } } }),
    ...(isPeerInXfcc ? peerInXfcc(original, caller) : {}),
  };
  return Object.keys(source).length === 0 ? {} : { source };
}

/** Of one element that the caller itself wrote. More of them are not its alone: then there is no peer. */
function peerInXfcc({ headers }: OriginalRequest, caller: Caller): Pick<SourceInit, 'certificate' | 'principal'> {
  const [element, ...more] = readXfcc(headers['x-forwarded-client-cert'] ?? '') ?? [];
  if (element === undefined || more.length > 0) return {};
  const [by] = element.by;
  if (element.by.length !== 1 || caller.spiffeIds?.some((id) => id === by) !== true) return {};
  return { certificate: element.cert, principal: element.uris[0] ?? '' };
}

function withPseudoHeaders({ method, path, host, scheme, headers }: OriginalRequest): Record<string, string> {
  return Object.assign(Object.create(null) as Record<string, string>, headers, {
    ':method': method,
    ':path': path,
    ':authority': host,
    ...(scheme === '' ? {} : { ':scheme': scheme }),
  });
}

/** Text where it is one, as Envoy has it without `pack_as_bytes`. */
function bodyOf(body: Uint8Array): { readonly body: string } | { readonly rawBody: Uint8Array } {
  try {
    return { body: UTF8.decode(body) };
  } catch {
    return { rawBody: body };
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
