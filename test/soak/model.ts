/**
 * What the gate must answer, read from the rules by other means than the gate's: no Rego, no certificates, no protobuf. Where
 * a change was being made, or a certificate ended, each answer of a state that there may have been is right.
 */
import { clockMs, type Span, type Timeline } from './timeline.ts';

/** What a policy says, under a number that its answers carry. */
export interface Rules {
  readonly generation: number;
  /** Numbers of the peers that are let in. */
  readonly members: readonly number[];
  /** The largest amount of an order. */
  readonly limit: number;
}

/** The SVID that a connection shows. */
export interface Shown {
  readonly peer: number;
  readonly serial: string;
  /** Milliseconds since the epoch. */
  readonly endsAt: number;
}

export interface Token {
  readonly peer: number;
  readonly endsAt: number;
  /** `foreign`: for another audience. `forged`: with another signature. */
  readonly kind: 'good' | 'foreign' | 'forged';
}

export type Body = { readonly amount: number } | 'broken' | 'form' | 'oversized';

export interface Asked {
  readonly method: 'GET' | 'POST';
  /** The first segment says whose it is; what follows says nothing. */
  readonly area: 'public' | 'orders' | 'token' | 'other' | 'second' | 'unheard';
  /** Absent: no client certificate. */
  readonly shown?: Shown;
  readonly token?: Token;
  readonly body?: Body;
}

/** `allow`, `deny`, or the status; what the first policy decided carries its generation. */
export type Answer = string;

export interface World {
  readonly first: Timeline<Rules>;
  readonly second: Timeline<Rules>;
  readonly peers: readonly PeerState[];
  /** Serials that were ever revoked. */
  readonly serials: Map<string, Timeline<boolean>>;
}

export interface PeerState {
  readonly isRegistered: Timeline<boolean>;
  readonly isRevoked: Timeline<boolean>;
}

/** The clocks of the gate and of this process are one, but its certificates have whole seconds. */
const END_TOLERANCE_MS = 1100;

/** Each answer that may be right for a request of this time. */
export function rightAnswers(asked: Asked, world: World, span: Span): ReadonlySet<Answer> {
  const { shown, token } = asked;
  const answers = new Set<Answer>();
  if (asked.body === 'oversized') return answers.add('413');
  const never = [false];
  const peer = shown === undefined ? undefined : world.peers[shown.peer];
  const bearer = token === undefined ? undefined : world.peers[token.peer];
  const revoked = [
    peer?.isRevoked.possible(span) ?? never,
    (shown === undefined ? undefined : world.serials.get(shown.serial)?.possible(span)) ?? never,
  ];
  for (const isIdRevoked of revoked[0]!)
    for (const isSerialRevoked of revoked[1]!)
      for (const isRegistered of peer?.isRegistered.possible(span) ?? never)
        for (const isSvidValid of validity(shown, span))
          for (const isBearerRevoked of bearer?.isRevoked.possible(span) ?? never)
            for (const isTokenValid of token?.kind === 'good' ? validity(token, span) : never)
              for (const rules of rulesOf(asked, world).possible(span))
                answers.add(
                  answerOf(asked, rules, {
                    isRevoked: isIdRevoked || isSerialRevoked || (isTokenValid && isBearerRevoked),
                    isRegistered,
                    isSvidValid,
                    isTokenValid,
                  }),
                );
  return answers;
}

function validity(one: { readonly endsAt: number } | undefined, { from, to }: Span): readonly boolean[] {
  if (one === undefined) return [false];
  const maybe: boolean[] = [];
  if (from < one.endsAt + END_TOLERANCE_MS) maybe.push(true);
  if (to > one.endsAt - END_TOLERANCE_MS) maybe.push(false);
  return maybe;
}

function rulesOf({ area }: Asked, world: World): Timeline<Rules> {
  return area === 'second' ? world.second : world.first;
}

interface Facts {
  readonly isRevoked: boolean;
  readonly isRegistered: boolean;
  readonly isSvidValid: boolean;
  readonly isTokenValid: boolean;
}

function answerOf(asked: Asked, rules: Rules, facts: Facts): Answer {
  const { area, body } = asked;
  if (facts.isRevoked) return 'deny';
  if (facts.isSvidValid && !facts.isRegistered) return 'deny';
  if (area === 'unheard') return 'deny';
  if (body === 'broken') return '400';
  const isAllowed = isGranted(asked, rules, facts);
  if (area === 'second') return isAllowed ? 'allow' : 'deny';
  return `${isAllowed ? 'allow' : 'deny'} ${rules.generation}`;
}

function isGranted({ method, area, shown, token, body }: Asked, rules: Rules, facts: Facts): boolean {
  const isMember = facts.isSvidValid && shown !== undefined && rules.members.includes(shown.peer);
  switch (area) {
    case 'public':
      return true;
    case 'orders':
      if (method === 'GET') return isMember;
      return isMember && typeof body === 'object' && body.amount <= rules.limit;
    case 'token':
      return facts.isTokenValid && token !== undefined && rules.members.includes(token.peer);
    case 'second':
      return isMember;
    case 'other':
    case 'unheard':
      return false;
  }
}

/** Whether svidgate must, must not, or may give an SVID or a token of this peer to who holds its entry. */
export function givesIdentity(state: PeerState, span: Span): 'must' | 'must_not' | 'may' {
  if (state.isRegistered.isCertainly(true, span) && state.isRevoked.isCertainly(false, span)) return 'must';
  if (state.isRegistered.isCertainly(false, span) || state.isRevoked.isCertainly(true, span)) return 'must_not';
  return 'may';
}

/** Whether this serial may be refused by Envoy at some time from `leadMs` before the span on. */
export function isMaybeRevoked(world: World, serial: string, { from, to }: Span, leadMs = 0): boolean {
  return (
    world.serials
      .get(serial)
      ?.possible({ from: from - leadMs, to })
      .includes(true) ?? false
  );
}

export function spanSince(from: number): Span {
  return { from, to: clockMs() };
}
