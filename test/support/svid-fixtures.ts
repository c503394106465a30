import { createAuthority, type Authority } from '../../src/authority/index.ts';
import { noMetrics, silentLogger, systemClock, type Clock } from '../../src/core/index.ts';
import { openAuthorityJournal, openDataDirectory } from '../../src/datastore/index.ts';
import { parseTrustDomain, type TrustDomain } from '../../src/spiffe/index.ts';

export const TRUST_DOMAIN: TrustDomain = parseTrustDomain('example.test');

export interface OpenAuthority extends AsyncDisposable {
  readonly authority: Authority;
}

/** A real authority on a real data directory. */
export async function openAuthority(
  path: string,
  options: { readonly clock?: Clock; readonly caTtlMs?: number; readonly trustDomain?: TrustDomain } = {},
): Promise<OpenAuthority> {
  const directory = await openDataDirectory(path);
  try {
    const authority = await createAuthority({
      trustDomain: options.trustDomain ?? TRUST_DOMAIN,
      journal: await openAuthorityJournal(directory),
      caTtlMs: options.caTtlMs ?? 24 * 3600_000,
      x509SvidTtlMs: 3600_000,
      clock: options.clock ?? systemClock,
      logger: silentLogger,
      metrics: noMetrics,
    });
    return { authority, [Symbol.asyncDispose]: () => directory.close() };
  } catch (error) {
    await directory.close();
    throw error;
  }
}
