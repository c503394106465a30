import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, untilAborted, writeFileAtomic } from '../core/index.ts';
import { createAccessLogEndpoint } from '../endpoints/access-log/index.ts';
import { OffloadBooks, type OffloadEvidence, type SavedBooks } from '../evidence/index.ts';
import type { OffloadSource } from '../offload/index.ts';
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
  source: Pick<OffloadSource, 'mayHave' | 'originOf'>,
): Promise<OffloadEvidenceParts | undefined> {
  const { config, clock, metrics, audit, attestor, revocations, policies, decisionLog } = parts;
  if (decisionLog === undefined || policies === undefined) return undefined;
  const logger = parts.logger.child({ room: 'evidence' });
  const path = join(config.dataDir, FILE);
  const books = new OffloadBooks({ saved: await readSaved(path), clock, logger, metrics });
  const remembered = rememberMatches(parts.registry.snapshot, clock);
  let savedAt = 0;
  const save = async (): Promise<void> => {
    const { changes } = books;
    if (changes === savedAt) return;
    try {
      await writeFileAtomic(path, JSON.stringify(books.save()), 0o600);
      savedAt = changes;
    } catch (error) {
      logger.warn({ file: path, reason: describeError(error) }, 'counts of offloaded requests not kept');
    }
  };
  return {
    methods: createAccessLogEndpoint({
      attestor,
      entries: {
        match: (selectors) =>
          remembered.match(selectors).filter(({ spiffeId }) => !revocations.snapshot.value.hasSpiffeId(spiffeId)),
      },
      source,
      recordingOf: (policy) => policies.recording(policy),
      books,
      recorder: decisionLog.recorder,
      audit,
      clock,
      logger,
      metrics,
    }),
    status: () => books.status(),
    async run(signal) {
      while (!signal.aborted) {
        await untilAborted(signal, clock.sleep(SAVE_EVERY_MS, signal));
        await save();
      }
      await save();
    },
  };
}

/** Without it counting begins anew: a damaged one is none. */
async function readSaved(path: string): Promise<SavedBooks | undefined> {
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as SavedBooks;
    return value.version === 1 && Array.isArray(value.processes) ? value : undefined;
  } catch {
    return undefined;
  }
}
