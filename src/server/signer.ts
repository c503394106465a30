import { createWorkloadApiSource, type Authority, type Revocations } from '../authority/index.ts';
import { combine, SvidgateError, Watchable, type ReadonlyWatchable } from '../core/index.ts';
import type { IdentitySourceOptions } from '../identity/index.ts';
import type { ForeignBundles, TrustBundle } from '../spiffe/index.ts';
import { openAuthority, type OwnAuthority, type PartsContext } from './authority-parts.ts';

/** Where SVIDs and the own trust domain's bundle come from: our own authority, or an agent that is there already. */
export interface Signer {
  readonly issuer: IdentitySourceOptions['issuer'];
  readonly bundle: ReadonlyWatchable<TrustBundle>;
  /** CAs in DER between the roots of the bundle and our SVIDs. */
  readonly intermediates: ReadonlyWatchable<readonly Uint8Array[]>;
  /** Ids of authorities whose SVIDs must be replaced. */
  readonly tainted: ReadonlyWatchable<ReadonlySet<string>>;
  /** What must not be shown to its holder: what is revoked, and what an agent does not give any more. */
  readonly withdrawn: NonNullable<IdentitySourceOptions['revocations']>;
  /** Foreign bundles that came with the identities. */
  readonly foreignBundles: ReadonlyWatchable<ForeignBundles>;
  /** Absent when an agent signs. */
  readonly own?: OwnAuthority;
  /** Why an agent is not followed; undefined while it is. */
  readonly problem: ReadonlyWatchable<string | undefined>;
  run(signal: AbortSignal): Promise<void>;
}

/** Throws what the authority throws. An agent need not be there yet. */
export async function openSigner(
  context: PartsContext,
  own: {
    readonly revocations: Revocations;
    readonly acknowledgements: Parameters<typeof openAuthority>[1]['acknowledgements'];
  },
): Promise<Signer> {
  const { identitySource } = context.config;
  return identitySource.kind === 'authority'
    ? ownSigner(await openAuthority(context, own), own.revocations)
    : agentSigner(identitySource.socket, context, own.revocations);
}

function ownSigner(own: OwnAuthority, revocations: Revocations): Signer {
  const { authority } = own;
  return {
    issuer: authority,
    bundle: authority.bundle,
    intermediates: authority.intermediates,
    tainted: authority.tainted,
    withdrawn: revocations.snapshot,
    foreignBundles: new Watchable<ForeignBundles>(new Map()),
    own,
    problem: new Watchable(undefined),
    run: (signal) => authority.run(signal),
  };
}

function agentSigner(socket: string, context: PartsContext, revocations: Revocations): Signer {
  const { clock, config } = context;
  const logger = context.logger.child({ room: 'authority' });
  const agent = createWorkloadApiSource({ socket, trustDomain: config.trustDomain, clock, logger });
  return {
    issuer: agent,
    bundle: agent.bundle,
    intermediates: agent.intermediates,
    tainted: new Watchable<ReadonlySet<string>>(new Set()),
    withdrawn: combine(revocations.snapshot, agent.notHeld, (revoked, notHeld) => ({
      hasSerial: (serial) => revoked.hasSerial(serial) || notHeld.hasSerial(serial),
      hasSpiffeId: (id) => revoked.hasSpiffeId(id) || notHeld.hasSpiffeId(id),
    })),
    foreignBundles: agent.foreignBundles,
    problem: agent.problem,
    run: (signal) => agent.run(signal),
  };
}

/** For what only our own authority can do. Throws `unimplemented`. */
export function requireAuthority(signer: Signer): Authority {
  if (signer.own !== undefined) return signer.own.authority;
  throw new SvidgateError(
    'unimplemented',
    'an agent signs here (`identity_source: workload_api`): there is no authority of our own',
  );
}
