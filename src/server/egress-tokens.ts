import type { AuthzConfig } from '../config/index.ts';
import { SvidgateError } from '../core/index.ts';
import type { EgressTokens } from '../gate/index.ts';
import type { IdentitySource } from '../identity/index.ts';

/** Tokens that policies may wish for, from the callers' own entries. Undefined where none is allowed. */
export function createEgressTokens(
  { egress }: Pick<AuthzConfig, 'egress'>,
  identities: Pick<IdentitySource, 'fetchJwtSvids' | 'fetchJwtSvidsOf'>,
): EgressTokens | undefined {
  if (egress === undefined) return undefined;
  return {
    audiences: egress.audiences,
    async fetch(caller, { audience, spiffeId }) {
      const request = { audience: [audience], spiffeId };
      if (caller.kind === 'tls') return tokenOf(await identities.fetchJwtSvidsOf(spiffeId, request));
      const { attestation } = caller;
      const asked = { ...request, caller: attestation.caller };
      const token = tokenOf(await identities.fetchJwtSvids(attestation.selectors, asked));
      attestation.assertAlive();
      return token;
    },
  };
}

/** Of several entries with one SPIFFE ID the first, as the Workload API has it. */
function tokenOf([held]: Awaited<ReturnType<IdentitySource['fetchJwtSvids']>>): string {
  if (held === undefined) throw new SvidgateError('no_identity', 'nobody has a token for this audience');
  return held.svid.token;
}
