import {
  noAudit,
  untilAborted,
  Watchable,
  type AuditLog,
  type Clock,
  type Logger,
  type ReadonlyWatchable,
} from '../core/index.ts';
import type { RegistrationEntry, SpiffeId, X509Svid } from '../spiffe/index.ts';
import { SlotTable } from './slot-table.ts';
import type { SvidIssuer } from './svid-slot.ts';

export interface OwnSvidOptions {
  readonly spiffeId: SpiffeId;
  readonly dnsNames?: readonly string[];
  /** Names it among what was issued, where others have their entry. */
  readonly entryId: string;
  readonly issuer: SvidIssuer;
  /** Ids of CAs whose SVIDs must be replaced. */
  readonly tainted: ReadonlyWatchable<ReadonlySet<string>>;
  readonly revocations: ReadonlyWatchable<{ hasSerial(serial: string): boolean; hasSpiffeId(id: SpiffeId): boolean }>;
  readonly audit?: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1; for the jitter of rotations. */
  readonly random?: () => number;
}

/** An X.509-SVID of svidgate itself, which no caller is given. */
export interface OwnSvid {
  /** Undefined while there is none that may be shown: not issued yet, ended, or revoked by its serial or its SPIFFE ID. */
  readonly svid: ReadonlyWatchable<X509Svid | undefined>;
  /** Keeps it fresh until the signal is aborted, as those of callers are. */
  run(signal: AbortSignal): Promise<void>;
}

/** Looks at the clock at least this often. */
const LONGEST_WAIT_MS = 10_000;

export function createOwnSvid(options: OwnSvidOptions): OwnSvid {
  const { spiffeId, entryId, dnsNames, revocations, clock, audit = noAudit, random = Math.random } = options;
  const entry: RegistrationEntry = {
    entryId,
    spiffeId,
    selectors: [],
    ...(dnsNames === undefined ? {} : { dnsNames }),
  };
  const slot = new SlotTable({ ...options, audit, random }).slotFor(entry);
  const shown = new Watchable<X509Svid | undefined>(undefined);
  const look = (): void => {
    const svid = slot.svid.value;
    const { value } = revocations;
    const isUsable =
      svid !== undefined &&
      clock.now() < svid.notAfter &&
      !value.hasSerial(svid.serial) &&
      !value.hasSpiffeId(spiffeId);
    shown.set(isUsable ? svid : undefined);
  };
  return {
    svid: shown,
    async run(signal) {
      const unsubscribe = [slot.svid.subscribe(look), revocations.subscribe(look)];
      try {
        await slot.hold(undefined);
        while (!signal.aborted) {
          look();
          await untilAborted(signal, clock.sleep(LONGEST_WAIT_MS, signal));
        }
      } finally {
        for (const stop of unsubscribe) stop();
        slot.release();
        shown.set(undefined);
      }
    },
  };
}
