import { shadowSubject, type AnsweredRequest, type PolicyTrials } from '../evidence/index.ts';
import type { RequestIdentity } from '../peer/index.ts';
import type { CheckRequest } from '../proto/index.ts';
import type { Caller } from './caller.ts';

/** A request as policies that are tried on it see it. */
export type ShownRequest = Pick<AnsweredRequest, 'input' | 'size' | 'subject'>;

/** How a route names itself in reports: Envoy's `context_extensions` of the ext_authz filter. */
const ROUTE_KEY = 'svidgate.route';

/** Nothing where no policy is tried on it; nor for an anonymous caller, whose requests are evidence of nothing. */
export function shownRequest(
  request: CheckRequest,
  about: {
    readonly caller: Caller;
    readonly policy: string;
    readonly identity: RequestIdentity;
    readonly input: ShownRequest['input'];
    readonly size: number;
  },
  trials: PolicyTrials | undefined,
): { readonly shown?: ShownRequest } {
  const { caller, policy, identity, input, size } = about;
  if (caller.kind === 'anonymous' || trials?.isWatched(policy) !== true) return {};
  const { peer } = identity;
  const subject: ShownRequest['subject'] = () => {
    const { request: attributes, contextExtensions = {} } = request.attributes ?? {};
    const { method = '', host = '', path = '' } = attributes?.http ?? {};
    return shadowSubject({
      spiffeId: peer.verified ? peer.spiffeId : undefined,
      method,
      host,
      path,
      route: Object.hasOwn(contextExtensions, ROUTE_KEY) ? (contextExtensions[ROUTE_KEY] ?? '') : '',
    });
  };
  return { shown: { input, size, subject } };
}
