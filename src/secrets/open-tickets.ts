import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SvidgateError } from '../core/index.ts';
import { openPrivateFolder } from '../datastore/index.ts';
import { FileSecret, type FileSecretContext } from './file-secret.ts';
import { seedFile } from './secret-files.ts';
import { randomTickets, seededTickets, type SessionTickets, type TicketSchedule } from './session-tickets.ts';
import { TICKET_KEY_FILE_NAME, ticketKeyFile, ticketKeyFileName } from './ticket-key-file.ts';

export interface TicketsRequest extends TicketSchedule {
  /** Absolute path of a file with at least 32 bytes. Without it keys are random, and kept in the data directory. */
  readonly seedFile?: string;
}

export interface TicketsContext extends FileSecretContext {
  /** Default: the system's. */
  readonly random?: (size: number) => Uint8Array;
}

/** What writeFileAtomic leaves when the process dies in it. */
const LEFTOVER = /^\..*\.json\.[0-9a-f]+\.tmp$/;

/** All session ticket keys of a server. Keys of secrets that are not there any more are removed. Throws `file_unreadable`. */
export async function openTickets(
  requests: readonly TicketsRequest[],
  context: TicketsContext,
): Promise<ReadonlyMap<string, SessionTickets>> {
  const folder = join(context.dataDir, 'secrets');
  const kept = requests.filter((request) => request.seedFile === undefined).map(({ name }) => name);
  if (kept.length > 0) await openPrivateFolder(folder);
  await removeOthers(folder, new Set(kept.map(ticketKeyFileName)));
  const opened = new Map<string, SessionTickets>();
  for (const request of requests) opened.set(request.name, await openOne(request, folder, context));
  return opened;
}

async function openOne(request: TicketsRequest, folder: string, context: TicketsContext): Promise<SessionTickets> {
  const { seedFile: path, name, rotateEveryMs, keepOld } = request;
  const schedule = { name, rotateEveryMs, keepOld };
  const { clock, logger, random = randomBytes } = context;
  if (path === undefined) {
    const file = ticketKeyFile(folder, { name, rotateEveryMs }, logger);
    return await randomTickets(schedule, { file, clock, logger, random });
  }
  const seed = new FileSecret(seedFile({ folder: dirname(path), path }), context);
  await seed.look(true);
  return seededTickets(schedule, seed.value, clock);
}

async function removeOthers(folder: string, own: ReadonlySet<string>): Promise<void> {
  try {
    for (const name of await readdir(folder)) {
      if (LEFTOVER.test(name) || (TICKET_KEY_FILE_NAME.test(name) && !own.has(name))) await rm(join(folder, name));
    }
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return;
    throw new SvidgateError('file_unreadable', `old session ticket keys in ${folder} cannot be removed`, { cause });
  }
}
