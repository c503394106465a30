import type { GateFacts } from '../translated-policy.ts';
import { all, not, request, type Formula } from './formula.ts';
import { likeRegex } from './text-match.ts';
import type { RequestMatch, TextMatch } from '../offload-rules.ts';

const target = (match: TextMatch): Formula => request({ kind: 'header', name: ':path', match });

/**
 * The requests that rules speak of; all others are left to the call. Their path begins with one slash and is of printable
 * characters without `%` and `#`; escapes in the query are whole, and there is no `;`, or the gate would not read it.
 */
const PLAIN_TARGET = target(
  likeRegex(String.raw`/(?:[!"$&-.0->@-~][!"$&->@-~]*)?(?:\?(?:[!"$&-:<-~]|%[0-9A-Fa-f]{2})*)?`),
);

/** The gate reads 10,000 parameters and no more; so many that none is near it. */
const FEW_PARAMETERS = not(target(likeRegex(String.raw`(?:[!-%'-~]*&){13}\C*`)));

/** Types that the gate reads bodies of, wherever they stand, as it looks for them. */
const PARSED_TYPE = likeRegex(
  String.raw`\C*(?:application/(?:json|grpc|x-www-form-urlencoded)|multipart/form-data)\C*`,
);

/** Where the formulas about the request mean what they say. */
export const IS_PLAIN: Formula = all([PLAIN_TARGET, FEW_PARAMETERS]);

/** What the gate asks for before the policy: a request that it may refuse is left to it. */
export function unrefused(facts: GateFacts): Formula {
  const header = (name: string, match: TextMatch | 'present'): RequestMatch => ({ kind: 'header', name, match });
  const tokens = facts.tokenHeaders.map((name) => not(request(header(name, 'present'))));
  const noBody = not(request(header('content-type', PARSED_TYPE)));
  return all([IS_PLAIN, ...(facts.parsesBodies ? [noBody] : []), ...tokens]);
}

/** Peers with a header that says more of the client than their certificate. */
export const NO_FORWARDED_CLIENT: Formula = not(
  request({ kind: 'header', name: 'x-forwarded-client-cert', match: 'present' }),
);
