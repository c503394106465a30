/** Holds identities as the server does for callers that stay connected, and tells what that costs. */
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { noAudit, silentLogger, systemClock, Watchable } from '../../src/core/index.ts';
import { createIdentitySource, type CallerIdentity } from '../../src/identity/index.ts';
import { createSnapshot } from '../../src/registration/index.ts';
import { parseSelector, parseSpiffeId } from '../../src/spiffe/index.ts';
import { openAuthority, TRUST_DOMAIN } from '../../test/support/svid-fixtures.ts';
import { serveJobs } from './serve-jobs.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const jobs = {
  /** Bytes for each identity, of `count` callers with one entry each, beyond what the first tenth of them took. */
  async hold({ folder, count }: { readonly folder: string; readonly count: number }): Promise<number> {
    await using opened = await openAuthority(join(folder, 'memory'));
    const { authority } = opened;
    const selectorOf = (index: number) => parseSelector(`unix:uid:${index}`);
    const entries = Array.from({ length: count }, (_, index) => ({
      entryId: `entry-${index}`,
      spiffeId: parseSpiffeId(`spiffe://${TRUST_DOMAIN}/workload/${index}`),
      selectors: [selectorOf(index)],
    }));
    const identities = createIdentitySource({
      issuer: authority,
      bundle: authority.bundle,
      entries: new Watchable(createSnapshot(entries)),
      audit: noAudit,
      clock: systemClock,
      logger: silentLogger,
    });
    const end = new AbortController();
    const held: AsyncGenerator<CallerIdentity>[] = [];
    const holdTo = async (until: number): Promise<number> => {
      while (held.length < until) {
        const watch = identities.watch(new Set([selectorOf(held.length)]), end.signal);
        held.push(watch);
        const { value } = await watch.next();
        if (value?.svids.length !== 1) throw new Error('a caller was given nothing');
      }
      await opened.datastore.issued.flush();
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const first = Math.ceil(count / 10);
    const before = await holdTo(first);
    const after = await holdTo(count);
    end.abort();
    await Promise.all(held.map((watch) => watch.return(undefined)));
    return (after - before) / (count - first);
  },
};

export type MemoryJobs = typeof jobs;

serveJobs(jobs);
