import type { Config, PolicyBundleConfig } from '../config/index.ts';
import {
  derive,
  supervise,
  Watchable,
  type Clock,
  type Logger,
  type Metrics,
  type ReadonlyWatchable,
} from '../core/index.ts';
import { createKeptBundleFiles, type DataDirectory } from '../datastore/index.ts';
import { createOwnSvid } from '../identity/index.ts';
import { ANY_USAGE, parseCertificate, SERVER_AUTH } from '../pki/index.ts';
import {
  bundleSource,
  createBundleReader,
  type ClientIdentity,
  type PolicyEngine,
  type RegoProgram,
  type RemoteSource,
  type ServerJudge,
} from '../policy/index.ts';
import type { SpiffeId } from '../spiffe/index.ts';
import type { ClientJudge } from '../transport/index.ts';
import { identityOf } from './gate-tls.ts';
import type { ServerParts } from './parts.ts';

/** Policies that come from servers and registries. */
export interface PolicySources {
  /** By policy; those that come from a path have none. */
  readonly all: ReadonlyMap<string, RemoteSource>;
  /** Asks all of them for the first time. */
  begin(signal: AbortSignal): void;
  /** Keeps on disk what comes into force. */
  follow(status: PolicyEngine['status']): void;
  /** Gives the sources what they show of us and whom they trust, once there is such, until the signal is aborted. */
  run(parts: ServerParts, signal: AbortSignal): Promise<void>;
}

interface SourcesContext {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** They are asked before the parts that prove us to them are there: such a question waits for that. */
export function createPolicySources(
  { config, clock, logger: root }: SourcesContext,
  own: { readonly metrics: Metrics; readonly directory: DataDirectory; readonly program: RegoProgram },
): PolicySources {
  const bundles = new Map(
    [...(config.authz?.policies ?? [])].flatMap(([name, { bundle, verify }]) =>
      bundle === undefined ? [] : [[name, { ...bundle, ...(verify === undefined ? {} : { verify }) }] as const],
    ),
  );
  const logger = root.child({ room: 'policy' });
  const certificates = new Watchable<ClientJudge | undefined>(undefined);
  const ids = new Set([...bundles.values()].flatMap(({ spiffeId }) => spiffeId ?? []));
  const shown = new Map([...ids].map((id) => [id, new Watchable<ClientIdentity | undefined>(undefined)] as const));
  const reader = createBundleReader(own.program);
  const kept = createKeptBundleFiles(own.directory, { policies: bundles.keys() });
  const all = new Map(
    [...bundles].map(([policy, bundle]) => {
      const options = {
        ...bundle,
        policy,
        intervalMs: bundle.pollIntervalMs,
        alsoAsk: bundle.allowOrigins,
        tls: tlsOf(bundle, { certificates, shown }),
        reader,
        kept,
        clock,
        logger: logger.child({ policy }),
        metrics: own.metrics,
      };
      return [policy, bundleSource(options)] as const;
    }),
  );
  return {
    all,
    begin(signal) {
      for (const source of all.values()) source.begin(signal);
    },
    follow(status) {
      const look = (policies: PolicyEngine['status']['value']): void => {
        for (const [name, source] of all) source.inForce(policies.get(name)?.digest);
      };
      look(status.value);
      status.subscribe(look);
    },
    async run({ signer, gateIdentity, audit }, signal) {
      certificates.set(gateIdentity?.certificates);
      const { issuer, tainted, withdrawn: revocations } = signer;
      await supervise(
        signal,
        [...shown].map(([spiffeId, identity]) => async (each: AbortSignal) => {
          const options = { spiffeId, entryId: ENTRY_ID, issuer, tainted, revocations, audit, clock, logger };
          const svid = createOwnSvid(options);
          const unsubscribe = svid.svid.subscribe((value) => identity.set(identityOf(value)));
          await svid.run(each).finally(unsubscribe);
        }),
      );
    },
  };
}

/** Among what was issued. */
const ENTRY_ID = 'svidgate.policies';

function tlsOf(
  { caFile, spiffeId, serverSpiffeId }: PolicyBundleConfig,
  own: {
    readonly certificates: ReadonlyWatchable<ClientJudge | undefined>;
    readonly shown: ReadonlyMap<SpiffeId, ReadonlyWatchable<ClientIdentity | undefined>>;
  },
): Parameters<typeof bundleSource>[0]['tls'] {
  const identity = spiffeId === undefined ? undefined : own.shown.get(spiffeId);
  return {
    ...(caFile === undefined ? {} : { caFile }),
    ...(serverSpiffeId === undefined ? {} : { judge: judgeOf(own.certificates, serverSpiffeId) }),
    ...(identity === undefined ? {} : { identity }),
  };
}

/** By the bundles and revocations of that moment. */
function judgeOf(
  certificates: ReadonlyWatchable<ClientJudge | undefined>,
  expected: SpiffeId,
): ReadonlyWatchable<ServerJudge | undefined> {
  return derive(certificates, (judge) => {
    if (judge === undefined) return undefined;
    return (chain) => {
      const verdict = judge.judge(chain);
      if (!verdict.accepted) return verdict.reason;
      if (verdict.spiffeId !== expected) return `it is ${verdict.spiffeId}`;
      const [leaf] = chain;
      const usage = leaf === undefined ? [] : parseCertificate(leaf).extendedKeyUsage;
      const isServer = usage?.some((each) => each === SERVER_AUTH || each === ANY_USAGE) ?? true;
      return isServer ? undefined : 'its certificate is not for a server';
    };
  });
}
