import { hkdfSync } from 'node:crypto';

/** Of Envoy's TlsSessionTicketKeys: 16 bytes of name, 32 of HMAC key, 32 of AES key. */
export const TICKET_KEY_BYTES = 80;

/** Changes only if all servers of a fleet are to make other keys from the same seed. */
const SALT = 'svidgate TLS session ticket keys 1';

/** The number of the period of time that holds this moment; all periods are equally long, counted from the Unix epoch. */
export function periodOf(now: number, rotateEveryMs: number): number {
  return Math.floor(now / rotateEveryMs);
}

/**
 * The periods whose keys Envoy holds during one: its own, which encrypts; the next, so that a whole fleet can decrypt with
 * it before the first gateway encrypts with it; those before.
 */
export function heldPeriods(period: number, keepOld: number): readonly number[] {
  return [period, period + 1, ...Array.from({ length: keepOld }, (_, index) => period - 1 - index)];
}

/** The key of a period, by HKDF-SHA256 (RFC 5869), equal wherever name and seed are. */
export function deriveTicketKey(seed: Uint8Array, name: string, period: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', seed, SALT, `${name} ${period}`, TICKET_KEY_BYTES));
}
