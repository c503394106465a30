import { hash } from 'node:crypto';

const BLOCK_BYTES = 64;

/** HMAC-SHA-256 in hex (RFC 2104) by one key of at most 64 bytes: several times as fast as createHmac() on short values. */
export function keyedHash(key: Uint8Array): (value: Uint8Array | string) => string {
  const inner = padded(key, 0x36);
  const outer = padded(key, 0x5c);
  return (value) => {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    return hash('sha256', Buffer.concat([outer, hash('sha256', Buffer.concat([inner, bytes]), 'buffer')]), 'hex');
  };
}

function padded(key: Uint8Array, mask: number): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES).fill(mask);
  for (const [at, byte] of key.entries()) block[at] = byte ^ mask;
  return block;
}
