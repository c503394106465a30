import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, untilAborted, writeFileAtomic } from '../core/index.ts';
import { createAccessLogEndpoint, startTicksOf } from '../endpoints/access-log/index.ts';
import { OffloadBooks, type OffloadEvidence, type SavedBooks } from '../evidence/index.ts';
import type { LiveOffload } from '../offload/index.ts';
import type { StreamMethod } from '../transport/index.ts';
import { rememberMatches } from './caller-entries.ts';
import type { ServerParts } from './parts.ts';

/** What Envoys log of requests that they answered by themselves. */
export interface OffloadEvidenceParts {
  /** For the workload socket. */
  readonly methods: readonly StreamMethod[];
  /** Of each Envoy and policy: how many requests it counted, and how many records came. */
  readonly status: () => readonly OffloadEvidence[];
  /** Keeps the books on disk until the signal is aborted, and once more then. */
  run(signal: AbortSignal): Promise<void>;
}

const FILE = 'offload-evidence.json';
const SAVE_EVERY_MS = 1000;
/** Until then a policy that is not in force may be one that is still being loaded. */
const STARTING_MS = 60_000;
const KNOWN_WITHIN_MS = 15_000;
const LOOK_EVERY_MS = 50;

/** Undefined where decisions are not recorded. */
export async function openOffloadEvidence(
  parts: Pick<
    ServerParts,
    | 'config'
    | 'clock'
    | 'logger'
    | 'metrics'
    | 'audit'
    | 'attestor'
    | 'registry'
    | 'revocations'
    | 'policies'
    | 'decisionLog'
  >,
  source: Pick<LiveOffload, 'mayHave' | 'originOf' | 'hasFastDeny' | 'report'>,
): Promise<OffloadEvidenceParts | undefined> {
  const { config, clock, metrics, audit, attestor, revocations, policies, decisionLog } = parts;
  if (decisionLog === undefined || policies === undefined) return undefined;
  const logger = parts.logger.child({ room: 'evidence' });
  const { books, run } = await openOffloadBooks(config.dataDir, { clock, logger, metrics });
  const startingUntil = clock.now() + STARTING_MS;
  const remembered = rememberMatches(parts.registry.snapshot, clock);
  return {
    methods: createAccessLogEndpoint({
      attestor,
      entries: {
        match: (selectors) =>
          remembered.match(selectors).filter(({ spiffeId }) => !revocations.snapshot.value.hasSpiffeId(spiffeId)),
      },
      source,
      hasFastDeny: (policy) => source.hasFastDeny(policy),
      async whenKnown(policy, signal) {
        const end = clock.now() + KNOWN_WITHIN_MS;
        const isComing = (): boolean => {
          const { state, digest } = source.report(policy) ?? {};
          return (
            state === 'translating' || (state === 'nothing' && digest === undefined && clock.now() < startingUntil)
          );
        };
        while (isComing() && clock.now() < end && !signal.aborted) {
          await untilAborted(signal, clock.sleep(LOOK_EVERY_MS, signal));
        }
      },
      recordingOf: (policy) => policies.recording(policy),
      books,
      recorder: decisionLog.recorder,
      audit,
      clock,
      logger,
      metrics,
    }),
    status: () => books.status(),
    run,
  };
}

/** The books, and what keeps them in a file of the folder until its signal is aborted, and once more then. */
export async function openOffloadBooks(
  folder: string,
  own: Pick<ServerParts, 'clock' | 'logger' | 'metrics'>,
): Promise<{ readonly books: OffloadBooks; readonly run: (signal: AbortSignal) => Promise<void> }> {
  const path = join(folder, FILE);
  const bootId = await readBootId();
  const books = new OffloadBooks({ ...own, saved: await readSaved(path, bootId) });
  let saved = 0;
  const save = async (): Promise<void> => {
    const { changes } = books;
    if (changes === saved) return;
    try {
      await writeFileAtomic(path, JSON.stringify({ ...books.save(), bootId } satisfies KeptBooks), 0o600);
      saved = changes;
    } catch (error) {
      own.logger.warn({ file: path, reason: describeError(error) }, 'counts of offloaded requests not kept');
    }
  };
  return {
    books,
    async run(signal) {
      while (!signal.aborted) {
        await untilAborted(signal, own.clock.sleep(SAVE_EVERY_MS, signal));
        books.sweep(({ pid, startTicks }) => startTicksOf(pid) === startTicks);
        await save();
      }
    },
  };
}

/** Process numbers and ticks begin anew with each boot. */
type KeptBooks = SavedBooks & { readonly bootId: string };

/** Empty where there is none. */
async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'latin1').catch(() => '')).trim();
}

/** Without it counting begins anew: a damaged one is none. */
async function readSaved(path: string, bootId: string): Promise<SavedBooks | undefined> {
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as KeptBooks;
    return value.version === 2 && value.bootId === bootId && Array.isArray(value.processes) ? value : undefined;
  } catch {
    return undefined;
  }
}
