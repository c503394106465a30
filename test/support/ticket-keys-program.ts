/**
 * Session ticket keys that rotate as fast as they can, for a test that kills it: `node ticket-keys-program.ts FOLDER`. Each
 * line of its output is one list of keys that was handed out, with the period whose key encrypts.
 */
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { randomTickets } from '../../src/secrets/session-tickets.ts';
import { ticketKeyFile } from '../../src/secrets/ticket-key-file.ts';

/** Keys are in hex. */
export interface TicketKeysLine {
  readonly keys: readonly string[];
}

/** Short enough for dozens of writes before the process is killed, and kept long enough to compare after a restart. */
export const FAST_TICKETS = { name: 'tickets', rotateEveryMs: 20, keepOld: 200 } as const;

async function main(folder: string): Promise<void> {
  const file = ticketKeyFile(folder, FAST_TICKETS, silentLogger);
  const tickets = await randomTickets(FAST_TICKETS, {
    file,
    clock: systemClock,
    logger: silentLogger,
    random: (size) => crypto.getRandomValues(new Uint8Array(size)),
  });
  const tell = (): void => {
    const { value } = tickets.value;
    if (value?.kind !== 'session_tickets') return;
    const line: TicketKeysLine = { keys: value.keys.map((key) => Buffer.from(key).toString('hex')) };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  };
  tell();
  tickets.value.subscribe(tell);
  await tickets.run(new AbortController().signal);
}

if (import.meta.main) await main(process.argv[2]!);
