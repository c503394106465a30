import type { AuthzConfig, Config, GateListenerConfig } from '../config/index.ts';
import { derive, supervise, type Logger } from '../core/index.ts';
import { createOwnSvid, type OwnSvid } from '../identity/index.ts';
import { pemEncode } from '../pki/index.ts';
import { isSpiffeId, matchesSpiffeId, type SpiffeId, type X509Svid } from '../spiffe/index.ts';
import type { ClientJudge, ServerIdentity, ServerTls } from '../transport/index.ts';
import type { PartsContext } from './authority-parts.ts';
import type { Signer } from './signer.ts';

/** TLS of the gate's listeners. */
export interface GateTls {
  /** Undefined for a listener without TLS. */
  of(listener: GateListenerConfig): ServerTls | undefined;
  /** One for each listener with TLS: why nobody can connect at the moment, if so. */
  checks(): readonly { readonly name: string; readonly problem?: string }[];
  /** Keeps what is shown fresh until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

export interface GateTlsSources {
  readonly signer: Pick<Signer, 'issuer' | 'tainted' | 'withdrawn'>;
  /** Who may connect, at whatever listener. */
  readonly clients: ClientJudge;
}

/** One SVID for each SPIFFE ID that listeners show. */
export function createGateTls(context: PartsContext, authz: AuthzConfig, sources: GateTlsSources): GateTls {
  const { clock, audit } = context;
  const logger = context.logger.child({ room: 'gate' });
  const { issuer, tainted, withdrawn: revocations } = sources.signer;
  const listeners = [...authz.listeners, ...authz.httpListeners].filter(({ tls }) => tls !== undefined);
  const ids = new Set(listeners.flatMap(({ tls }) => tls?.spiffeId ?? []));
  const svids = new Map(
    [...ids].map((spiffeId) => {
      // Listeners that show the same ID show the same SVID.
      const names = new Set(listeners.flatMap(({ tls }) => (tls?.spiffeId === spiffeId ? (tls.dnsNames ?? []) : [])));
      const dnsNames = names.size === 0 ? {} : { dnsNames: [...names] };
      const options = { spiffeId, ...dnsNames, entryId: ENTRY_ID, issuer, tainted, revocations, audit, clock, logger };
      return [spiffeId, createOwnSvid(options)] as const;
    }),
  );
  const identities = new Map([...svids].map(([id, { svid }]) => [id, derive(svid, identityOf)] as const));
  return {
    of(listener) {
      const identity = listener.tls === undefined ? undefined : identities.get(listener.tls.spiffeId);
      if (identity === undefined) return undefined;
      return { identity, clients: callersOf(listener, sources.clients), now: () => clock.now() };
    },
    checks: () =>
      listeners.map(({ name, tls }) => {
        const isShown = tls !== undefined && svids.get(tls.spiffeId)?.svid.value !== undefined;
        return isShown ? { name } : { name, problem: 'there is no svid of the gate to show' };
      }),
    run: (signal) =>
      supervise(
        signal,
        [...svids].map(
          ([id, own]) =>
            (each: AbortSignal) =>
              keep(id, own, { signal: each, logger }),
        ),
      ),
  };
}

/** SPIFFE IDs that the gate shows and an entry gives to callers, too. */
export function gateIdsOfEntries(
  { authz }: Pick<Config, 'authz'>,
  entries: { hasSpiffeId(id: SpiffeId): boolean },
): readonly SpiffeId[] {
  const listeners = authz === undefined ? [] : [...authz.listeners, ...authz.httpListeners];
  const asked = [...(authz?.policies.values() ?? [])].flatMap(({ bundle }) => bundle?.spiffeId ?? []);
  const ids = new Set([...listeners.flatMap(({ tls }) => tls?.spiffeId ?? []), ...asked]);
  return [...ids].filter((id) => entries.hasSpiffeId(id));
}

/** Among what was issued. */
const ENTRY_ID = 'svidgate.gate';

/** Says when connections begin and cease to be possible. */
async function keep(
  spiffeId: SpiffeId,
  own: OwnSvid,
  { signal, logger }: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<void> {
  let isShown = false;
  const unsubscribe = own.svid.subscribe((svid) => {
    if (signal.aborted || (svid !== undefined) === isShown) return;
    isShown = svid !== undefined;
    if (isShown) logger.info({ spiffe_id: spiffeId, serial: svid?.serial ?? '' }, 'the gate shows its svid');
    else logger.warn({ spiffe_id: spiffeId }, 'the gate has no svid to show: nobody can connect with tls');
  });
  try {
    await own.run(signal);
  } finally {
    unsubscribe();
  }
}

/** As TLS shows it, in PEM. */
export function identityOf(svid: X509Svid | undefined): ServerIdentity | undefined {
  if (svid === undefined) return undefined;
  return {
    privateKey: pemEncode('PRIVATE KEY', svid.privateKey),
    certificateChain: svid.certificateChain.map((der) => pemEncode('CERTIFICATE', der)).join(''),
  };
}

/** Of whoever may connect, those that are callers of the listener. */
function callersOf({ callers = [] }: GateListenerConfig, clients: ClientJudge): ClientJudge {
  return {
    epoch: () => clients.epoch(),
    judge(chain) {
      const verdict = clients.judge(chain);
      if (!verdict.accepted) return verdict;
      const { spiffeId } = verdict;
      const isCaller = isSpiffeId(spiffeId) && callers.some(({ pattern }) => matchesSpiffeId(pattern, spiffeId));
      return isCaller ? verdict : { accepted: false, reason: 'not_a_caller' };
    },
  };
}
