/**
 * An authority that rotates as fast as it can, for a test that kills it: `node authority-program.ts FOLDER`. Each line of its
 * output is one thing that has left the process.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { SvidgateError } from '../../src/core/index.ts';
import { parseSpiffeId } from '../../src/spiffe/index.ts';
import { openAuthority } from './svid-fixtures.ts';

/** One line. DER is base64. */
export type AuthorityLine =
  | { readonly kind: 'bundle'; readonly sequence: number; readonly roots: readonly string[] }
  | { readonly kind: 'svid'; readonly certificate: string; readonly authorityId: string; readonly notAfter: number }
  /** Written before it begins. */
  | { readonly kind: 'revoking'; readonly id: string };

const ORDERS = parseSpiffeId('spiffe://example.test/orders');

/** Lives of CAs: they end while the test runs. */
export const SHORT_LIVES = { caTtlMs: 4000, x509SvidTtlMs: 2000, ackTimeoutMs: 0 } as const;

/** A pipe takes each line before this returns. */
function say(line: AuthorityLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** The rotation that runs beside us may have been first. */
async function unlessRotated(step: Promise<unknown>): Promise<void> {
  try {
    await step;
  } catch (error) {
    if (!(error instanceof SvidgateError && ['conflict', 'not_found'].includes(error.code))) throw error;
  }
}

async function main(folder: string): Promise<void> {
  await using open = await openAuthority(folder, SHORT_LIVES);
  const { authority } = open;
  const { signal } = new AbortController();
  const tell = ({ sequence, x509Authorities }: typeof authority.bundle.value): void =>
    say({ kind: 'bundle', sequence, roots: x509Authorities.map((der) => Buffer.from(der).toString('base64')) });
  tell(authority.bundle.value);
  authority.bundle.subscribe(tell);
  const running = authority.run(signal);
  for (;;) {
    const { certificateChain, authorityId, notAfter } = await authority.issueX509Svid({ spiffeId: ORDERS });
    say({ kind: 'svid', certificate: Buffer.from(certificateChain[0]!).toString('base64'), authorityId, notAfter });
    const { id } = await authority.prepare('x509');
    await unlessRotated(authority.activate({ kind: 'x509', id }));
    const old = authority.slots.value.find(({ kind, state }) => kind === 'x509' && state === 'old');
    if (old !== undefined) await unlessRotated(authority.taint(old));
    const tainted = authority.slots.value.findLast(({ kind, state }) => kind === 'x509' && state === 'tainted');
    if (tainted !== undefined && Math.random() < 0.5) {
      say({ kind: 'revoking', id: tainted.id });
      await unlessRotated(authority.revoke(tainted));
    }
    await Promise.race([pause(20), running]);
  }
}

if (import.meta.main) await main(process.argv[2]!);
