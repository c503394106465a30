import type { Attestation } from '../../attestation/index.ts';
import { SvidgateError } from '../../core/index.ts';
import type { BookedProcess, EnvoyBook } from '../../evidence/index.ts';
import type { RegistrationEntry, Selector, SpiffeId } from '../../spiffe/index.ts';
import type { CallContext, PeerProcess } from '../../transport/index.ts';
import { startTicksOf } from './process-start.ts';

export interface CallerSources {
  readonly attestor: { attest(peer: PeerProcess): Promise<Attestation> };
  /** Of the SPIFFE IDs that are not revoked. */
  readonly entries: { match(selectors: ReadonlySet<Selector>): readonly RegistrationEntry[] };
  readonly source: { mayHave(policy: string, callerIds: readonly SpiffeId[]): boolean };
  readonly books: { of(process: BookedProcess): EnvoyBook | undefined };
}

/** The Envoy at the other end, by what the kernel says. */
export interface LoggingCaller {
  readonly pid: number;
  /** Of its stream. */
  readonly signal: AbortSignal;
  /** Throws `overloaded` where there are too many. */
  readonly book: EnvoyBook;
  /** As they are now. Throws `attestation_failed` when the process is gone. */
  rights(): { readonly ids: readonly SpiffeId[]; readonly mayHave: (policy: string) => boolean };
}

/** Throws `attestation_failed`, and `no_identity` for a process that no entry matches. */
export async function identify(call: CallContext, sources: CallerSources): Promise<LoggingCaller> {
  if (call.peer.kind !== 'unix') {
    throw new SvidgateError('attestation_failed', 'logs of Envoys are taken on a Unix socket only');
  }
  const { process: peer } = call.peer;
  const attestation = await sources.attestor.attest(peer);
  const { pid, uid } = peer;
  const startTicks = startTicksOf(pid);
  if (startTicks === undefined) throw new SvidgateError('attestation_failed', 'the caller is gone');
  const isYounger = startTicks > (startTicksOf(process.pid) ?? Infinity);
  const idsNow = (): readonly SpiffeId[] => [
    ...new Set(sources.entries.match(attestation.selectors).map(({ spiffeId }) => spiffeId)),
  ];
  if (idsNow().length === 0) throw new SvidgateError('no_identity', 'logs of a process that no entry matches');
  return {
    pid,
    signal: call.signal,
    book: bookWhenNeeded(() => sources.books.of({ pid, uid, startTicks, isYounger })),
    rights() {
      attestation.assertAlive();
      const ids = idsNow();
      const known = new Map<string, boolean>();
      return {
        ids,
        mayHave(policy) {
          const before = known.get(policy);
          if (before !== undefined) return before;
          const may = ids.length > 0 && sources.source.mayHave(policy, ids);
          if (known.size < MAX_KNOWN) known.set(policy, may);
          return may;
        },
      };
    },
  };
}

const MAX_KNOWN = 100;

/** There are only so many: who has nothing to tell that counts opens none. */
function bookWhenNeeded(open: () => EnvoyBook | undefined): EnvoyBook {
  let name = '';
  let book: EnvoyBook | undefined;
  const opened = (): EnvoyBook => {
    book ??= open();
    if (book === undefined) throw new SvidgateError('overloaded', 'too many processes send logs');
    book.name(name);
    return book;
  };
  return {
    name: (text) => void (name = text),
    receive: (policy, outcome, at) => opened().receive(policy, outcome, at),
    count(told) {
      if (told.counters.length > 0 || book !== undefined) opened().count(told);
    },
  };
}
