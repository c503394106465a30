import { explainAttestation } from '../attestation/index.ts';
import type { AdminConfig } from '../config/index.ts';
import { openBackup, sealBackup, type BackupKey } from '../datastore/index.ts';
import {
  ADMIN_MAX_MESSAGE_BYTES,
  createAdminEndpoint,
  type AdminCaller,
  type AttestationExplanation,
  type PolicyAdmin,
  type StatusProvider,
} from '../endpoints/admin/index.ts';
import type { PolicyEvidence } from '../evidence/index.ts';
import { startGrpcServer, type GrpcServer } from '../transport/index.ts';
import type { ServerParts } from './parts.ts';
import { policyHistoryAdmin } from './policy-history-admin.ts';
import { requireAuthority } from './signer.ts';

/** Root and the server's own user. */
const OWNER_MODE = 0o600;

/** The admin API on its own socket. */
export function startAdmin(parts: ServerParts, status: StatusProvider): Promise<GrpcServer> {
  const { config, clock, audit, signer, foreignBundles, revocations, registry, metrics, evidence } = parts;
  const logger = parts.logger.child({ room: 'admin' });
  return startGrpcServer({
    name: 'admin',
    address: { kind: 'unix', path: config.admin.socket, mode: OWNER_MODE },
    methods: createAdminEndpoint({
      callers: adminCallers(config.admin),
      clock,
      audit,
      logger,
      entries: registry,
      authorities: {
        slots: () => signer.own?.authority.slots.value ?? [],
        prepare: async (kind, by) => requireAuthority(signer).prepare(kind, by),
        activate: async (name, by, signal) => requireAuthority(signer).activate(name, by, signal),
        taint: async (name, by) => requireAuthority(signer).taint(name, by),
        revoke: async (name, by) => requireAuthority(signer).revoke(name, by),
      },
      foreignBundles,
      ownBundle: () => signer.bundle.value,
      revocations: {
        list: () => revocations.snapshot.value.all,
        revoke: (request, by) => revocations.revoke(request, by),
        undo: (id, by) => revocations.undo(id, by),
      },
      status,
      explain: (pid) => explain(parts, pid),
      ...(evidence === undefined ? {} : { policies: policyAdmin(evidence) }),
      ...policyHistoryAdmin(parts),
      takeBackup: (passphrase) => takeBackup(parts, passphrase),
    }),
    identify: parts.tracker.identify,
    maxMessageBytes: ADMIN_MAX_MESSAGE_BYTES,
    logger: parts.logger.child({ room: 'transport' }),
    metrics,
  });
}

/** Who may call when the configuration names nobody: root and the server's own user, who can read its keys anyway. */
function adminCallers({ allow }: AdminConfig): readonly AdminCaller[] {
  if (allow !== undefined) return allow;
  const uids = new Set([0, process.geteuid?.() ?? 0]);
  return [...uids].map((uid) => ({ uid, role: 'authority' }));
}

function policyAdmin(evidence: PolicyEvidence): PolicyAdmin {
  return {
    isTried: (policy) => evidence.hasReport(policy),
    shadowReport: (filter) => evidence.report(filter),
    clearShadowReport: (policy) => evidence.clear(policy),
  };
}

async function explain(parts: ServerParts, pid: number): Promise<AttestationExplanation> {
  const { tracker, attestors, clock, registry } = parts;
  const { matches, nearMisses, ...process } = await explainAttestation({
    pid,
    tracker,
    attestors,
    entries: registry.snapshot.value.entries,
    clock,
  });
  return {
    ...process,
    attestors: process.attestors.map(({ name, selectors, failure }) => ({
      name,
      selectors,
      ...(failure === undefined ? {} : { problem: failure }),
    })),
    matches: matches.map(({ entryId, spiffeId }) => ({ entryId, spiffeId })),
    nearMisses: nearMisses.map(({ entry: { entryId, spiffeId }, missing, obstacle }) => ({
      entryId,
      spiffeId,
      missing,
      ...(obstacle === undefined ? {} : { obstacle }),
    })),
  };
}

/** Everything in the datastore, and the keys, where their keeper gives them away. */
async function takeBackup(parts: ServerParts, passphrase: string): Promise<Uint8Array> {
  const { config, clock, datastore, signer } = parts;
  const keyManager = signer.own?.keyManager;
  // First: a key is made before the journal names it, and goes after that.
  const dump = await datastore.dump();
  const keys: BackupKey[] = [];
  const exports = keyManager?.exports;
  if (keyManager !== undefined && exports !== undefined && keyManager.isPersistent) {
    for (const id of await keyManager.list()) {
      // One that was made since is of no use without its authority, and nobody would remove it.
      const key = dump.includes(id) ? await keyManager.find(id) : undefined;
      if (key !== undefined) keys.push({ id, type: key.type, pkcs8: await exports.exportKey(id) });
    }
  }
  const content = {
    format: 1,
    createdAt: clock.now(),
    trustDomain: config.trustDomain,
    datastore: dump,
    keys,
  } as const;
  const sealed = await sealBackup(content, passphrase);
  await openBackup(sealed, passphrase); // a backup that cannot be opened is none
  return sealed;
}
