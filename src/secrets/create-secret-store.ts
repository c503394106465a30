import { dirname } from 'node:path';
import { supervise, type ReadonlyWatchable } from '../core/index.ts';
import { matchesSpiffeId, type SpiffeIdPattern } from '../spiffe/index.ts';
import { FileSecret, type FileSecretContext, type FileSecretOptions } from './file-secret.ts';
import { FolderWatches } from './folder-watches.ts';
import { NamedFiles, type AllowedFolder } from './named-files.ts';
import { openTickets, type TicketsContext } from './open-tickets.ts';
import type { FilePlace } from './read-beneath.ts';
import { caFile, certificateFiles, genericFile } from './secret-files.ts';
import type { FollowedSecret, SecretContent, SecretStore } from './secret-store.ts';

/** A secret of the configuration; paths are absolute. */
export type ConfiguredSecret = { readonly allow: readonly SpiffeIdPattern[] } & (
  | FileConfiguration
  | {
      readonly kind: 'session_tickets';
      readonly rotateEveryMs: number;
      /** How many old keys still decrypt. */
      readonly keepOld: number;
      /** At least 32 bytes. Without it keys are random, and kept in the data directory. */
      readonly seedFile?: string;
    }
);

type FileConfiguration =
  | { readonly kind: 'generic'; readonly file: string }
  | { readonly kind: 'tls_certificate'; readonly certificateFile: string; readonly privateKeyFile: string }
  | { readonly kind: 'validation_context'; readonly caFile: string };

export interface SecretStoreOptions extends Omit<TicketsContext, 'watches'> {
  /** By resource name. */
  readonly secrets: ReadonlyMap<string, ConfiguredSecret>;
  /** Files beneath them may be asked for by name. */
  readonly folders: readonly AllowedFolder[];
}

interface Configured {
  readonly allow: readonly SpiffeIdPattern[];
  readonly value: ReadonlyWatchable<SecretContent | undefined>;
}

/**
 * Reads what is configured. A file that is missing or wrong is logged, and taken once it is right. Throws `file_unreadable`
 * when there is no place for session ticket keys.
 */
export async function createSecretStore(options: SecretStoreOptions): Promise<SecretStore> {
  const watches = new FolderWatches(options.clock);
  const context: TicketsContext = { ...options, watches };
  const tickets = await openTickets(
    [...options.secrets].flatMap(([name, secret]) => (secret.kind === 'session_tickets' ? [{ ...secret, name }] : [])),
    context,
  );
  const configured = new Map<string, Configured>();
  for (const [name, secret] of options.secrets) {
    const value =
      secret.kind === 'session_tickets' ? tickets.get(name)?.value : (await openFile(secret, context)).value;
    if (value !== undefined) configured.set(name, { allow: secret.allow, value });
  }
  const named = new NamedFiles(options.folders, context);
  return {
    follow(name, onChange) {
      const found = configured.get(name);
      return found === undefined ? named.follow(name, onChange) : followConfigured(found, onChange);
    },
    async run(signal) {
      const rotations = [...tickets.values()].map((one) => (each: AbortSignal) => one.run(each));
      await supervise(signal, [(each) => watches.run(each), ...rotations]);
    },
  };
}

async function openFile(secret: FileConfiguration, context: FileSecretContext): Promise<FileSecret<SecretContent>> {
  const file = new FileSecret(optionsOf(secret), context);
  await file.look(true);
  return file;
}

function optionsOf(secret: FileConfiguration): FileSecretOptions<SecretContent> {
  switch (secret.kind) {
    case 'generic':
      return genericFile(placeOf(secret.file));
    case 'tls_certificate':
      return certificateFiles(placeOf(secret.certificateFile), placeOf(secret.privateKeyFile));
    case 'validation_context':
      return caFile(placeOf(secret.caFile));
  }
}

/** Links on the way to the folder are the operator's; the file itself is none. */
function placeOf(path: string): FilePlace {
  return { folder: dirname(path), path };
}

function followConfigured({ allow, value }: Configured, onChange: () => void): FollowedSecret {
  const unsubscribe = value.subscribe(onChange);
  return {
    allows: (spiffeIds) => [...spiffeIds].some((id) => allow.some((pattern) => matchesSpiffeId(pattern, id))),
    get content() {
      return value.value;
    },
    [Symbol.dispose]: unsubscribe,
  };
}
