import { SvidgateError, type Clock } from '../core/index.ts';
import type { HeaderField, JwtSvidWish } from '../policy/index.ts';
import type { SpiffeId } from '../spiffe/index.ts';
import type { Caller } from './caller.ts';

/** JWT-SVIDs for requests that leave through the caller. */
export interface EgressTokens {
  /** For whom policies may have one. */
  readonly audiences: ReadonlySet<string>;
  /** Throws `no_identity` unless an entry of the caller gives it this SPIFFE ID, and whatever keeps one from being issued. */
  fetch(caller: ProvenCaller, token: { readonly audience: string; readonly spiffeId: SpiffeId }): Promise<string>;
}

export type ProvenCaller = Exclude<Caller, { readonly kind: 'anonymous' }>;

export type TokenOutcome =
  | { readonly kind: 'token'; readonly header: HeaderField }
  /** `egress_refused`: nobody may have this one. `egress_unavailable`: it cannot be had at the moment. */
  | { readonly kind: 'none'; readonly reason: 'egress_refused' | 'egress_unavailable'; readonly detail: string };

/** Of the time that is left for the answer: without a token there is still a deny to be told. */
const SHARE = 0.8;

/** The header that a policy wishes for. Never rejects, and never says anything of the token but what it is for. */
export async function egressToken(
  wish: JwtSvidWish,
  about: { readonly caller: Caller; readonly hasRequest: boolean; readonly deadline: number },
  { egress, clock }: { readonly egress?: EgressTokens; readonly clock: Clock },
): Promise<TokenOutcome> {
  const { caller, hasRequest, deadline } = about;
  const refused = (detail: string): TokenOutcome => ({ kind: 'none', reason: 'egress_refused', detail });
  if (egress?.audiences.has(wish.audience) !== true) return refused('the audience is none of authz.egress.audiences');
  if (caller.kind === 'anonymous') return refused('nobody proved who asks');
  if (!hasRequest) return refused('a connection has no header for a JWT-SVID');
  const [only, ...more] = caller.spiffeIds;
  const spiffeId = wish.spiffeId ?? (more.length === 0 ? only : undefined);
  if (spiffeId === undefined) return refused('the caller has several SPIFFE IDs, and the policy names none of them');
  const own = caller.spiffeIds.find((id) => id === spiffeId);
  if (own === undefined) return refused('the SPIFFE ID is none of the caller');
  try {
    const asked = egress.fetch(caller, { audience: wish.audience, spiffeId: own });
    const token = await within((deadline - clock.now()) * SHARE, asked);
    return { kind: 'token', header: { name: wish.header, value: `Bearer ${token}` } };
  } catch (error) {
    const { code } = SvidgateError.from(error);
    return { kind: 'none', reason: 'egress_unavailable', detail: `no JWT-SVID could be had (${code})` };
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<never>((_resolve, reject) => {
    const late = (): void => reject(new SvidgateError('deadline_exceeded', 'it took too long'));
    timer = setTimeout(late, Math.max(0, ms));
  });
  try {
    return await Promise.race([work, timeUp]);
  } finally {
    clearTimeout(timer);
  }
}
