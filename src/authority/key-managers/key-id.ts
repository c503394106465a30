import { SvidgateError } from '../../core/index.ts';

const KEY_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** Whether a key can have the name: 1 to 64 letters, digits, `-` or `_`. Such a name is safe as a file name and in a URL. */
export function isKeyId(id: string): boolean {
  return KEY_ID.test(id);
}

/** Throws `invalid_request` unless isKeyId. */
export function assertKeyId(id: string): void {
  if (isKeyId(id)) return;
  throw new SvidgateError('invalid_request', 'a key id has 1 to 64 letters, digits, "-" or "_"');
}
