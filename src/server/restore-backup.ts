import type { Config } from '../config/index.ts';
import { describeError, noMetrics, SvidgateError, systemClock, type AuditCaller, type Logger } from '../core/index.ts';
import { openBackup, openDataDirectory, openSqliteDatastore } from '../datastore/index.ts';
import { createAuditLog, createLogger } from '../telemetry/index.ts';

export interface RestoredBackup {
  /** When it was made; epoch milliseconds. */
  readonly createdAt: number;
  readonly keyCount: number;
}

/**
 * Puts the state of a backup in the place of what is in the data directory. Keys come first and the rest in one step, so that a
 * crash leaves the state before or the whole state after. What was revoked since the backup stays revoked, be it an SVID,
 * a SPIFFE ID or an authority. Throws
 * `already_running` while a server holds the data directory, `invalid_request` for a backup that cannot be opened,
 * `conflict` when it is another trust domain's or its keys cannot be put where the configuration says, `audit_failed` when it
 * must be recorded and cannot be.
 */
export async function restoreBackup(config: Config, file: Uint8Array, passphrase: string): Promise<RestoredBackup> {
  const backup = await openBackup(file, passphrase);
  if (backup.trustDomain !== config.trustDomain) {
    const message = `the backup is of trust domain ${backup.trustDomain}, but trust_domain is ${config.trustDomain}`;
    throw new SvidgateError('conflict', message);
  }
  // Only here: a server that starts has its policies to compile first.
  const { openKeyManager } = await import('./authority-parts.ts');
  const { mergeRestoredDocument } = await import('../authority/index.ts');
  const clock = systemClock;
  const logger: Logger = createLogger({ level: 'error' });
  await using open = new AsyncDisposableStack();
  const directory = await openDataDirectory(config.dataDir);
  open.defer(() => directory.close());
  const keyManager = await openKeyManager(config.authority.keyManager, {
    trustDomain: config.trustDomain,
    directory,
    clock,
    logger,
  });
  open.defer(() => keyManager.close());
  const { exports } = keyManager;
  if (backup.keys.length > 0 && (exports === undefined || !keyManager.isPersistent)) {
    const message = `the backup holds keys, which a key manager of the kind ${config.authority.keyManager.kind} does not take`;
    throw new SvidgateError('conflict', message);
  }
  const audit = createAuditLog({ ...config.audit, logger, metrics: noMetrics, clock });
  open.defer(() => audit.close());
  const event = { event: 'state_restored', method: 'restore', caller: ownProcess() } as const;
  audit.record({ ...event, result: 'success' });
  try {
    for (const { id, pkcs8 } of backup.keys) await exports?.importKey(id, pkcs8);
    const datastore = await openSqliteDatastore({ directory, clock, logger });
    open.defer(() => datastore.close());
    await datastore.load(backup.datastore, mergeRestoredDocument);
  } catch (error) {
    audit.record({ ...event, result: 'failure', failure_reason: describeError(error) });
    throw error;
  }
  return { createdAt: backup.createdAt, keyCount: backup.keys.length };
}

/** Whoever may write to the data directory: there is no server that could ask who it is. */
function ownProcess(): AuditCaller {
  const [uid, gid] = [process.getuid?.(), process.getgid?.()];
  return { pid: process.pid, ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
}
