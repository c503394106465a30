import { formatSpiffeBundle } from '../../src/spiffe/index.ts';
import { OWN_SELECTOR, startTestServer, type TestServer } from './server.ts';
import { createTestTrustDomain, type TestTrustDomain } from './test-trust-domain.ts';

export const WEB_ID = 'spiffe://example.test/web';
export const ADMIN_ID = 'spiffe://example.test/admin';

/** A server that gives each caller of this user two SVIDs and the bundle of another trust domain. */
export interface FederatedServer extends AsyncDisposable {
  readonly server: TestServer;
  readonly other: TestTrustDomain;
}

export async function startFederatedServer(): Promise<FederatedServer> {
  const other = await createTestTrustDomain('other.test');
  const entries = [
    {
      spiffe_id: WEB_ID,
      selectors: [OWN_SELECTOR],
      hint: 'internal',
      dns_names: ['web.example.test'],
      federates_with: ['other.test'],
    },
    { spiffe_id: ADMIN_ID, selectors: [OWN_SELECTOR] },
  ];
  const server = await startTestServer({
    entries: JSON.stringify({ entries }),
    config: 'federation: { bundles: ./bundles }',
    files: { 'bundles/other.test.json': formatSpiffeBundle(other.bundle.value) },
  });
  return { server, other, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
