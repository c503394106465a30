import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { benchFolder } from '../parts/bench-folder.ts';
import type { MemoryJobs } from '../parts/memory-worker.ts';
import { startWorker } from '../parts/worker.ts';

const SIZES = {
  full: { identities: 5000 },
  quick: { identities: 20 },
};

/** What held identities cost beside their connections: SVID, key, rotation and the caller's watch. */
export async function measureMemory({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { identities } = SIZES[size];
  await using folder = await benchFolder();
  await using worker = startWorker<MemoryJobs>('memory-worker.ts');
  progress(`${identities} identities held at once`);
  const bytes = await worker.ask('hold', { folder: folder.path, count: identities });
  return [
    {
      name: 'memory_per_1000_identities_mb',
      value: Math.max(0, (bytes * 1000) / 1e6),
      meaning: 'memory that stays in use for 1,000 callers with an SVID each, without their connections',
    },
  ];
}
