/**
 * many-callers-program SOCKET COUNT: COUNT connections at once, each fetching the X.509-SVIDs of this process by the
 * Workload API. Prints how many were given which SPIFFE IDs, or which error, as JSON.
 */
import { connectWorkload } from './workload-client.ts';

const [socket = '', count = '1'] = process.argv.slice(2);
const counts: Record<string, number> = {};
const clients = Array.from({ length: Number(count) }, () => connectWorkload(`unix:${socket}`));
await Promise.all(
  clients.map(async (client) => {
    let outcome: string;
    try {
      outcome = (await client.x509Svids().next()).svids.map(({ spiffeId }) => spiffeId).join();
    } catch (error) {
      outcome = (error as Error).message;
    }
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }),
);
process.stdout.write(JSON.stringify(counts), () => process.exit(0));
