import { SvidgateError } from '../../core/index.ts';
import type { GrpcMethod } from '../../transport/index.ts';
import type { AdminMethods } from './admin-call.ts';
import { createLimit } from './limit.ts';
import { invalidField } from './request-fields.ts';

/** Seals the whole state with a passphrase. Throws `unimplemented` where keys cannot be taken along. */
export type TakeBackup = (passphrase: string) => Promise<Uint8Array>;

const MIN_PASSPHRASE_LENGTH = 12;
const MAX_PASSPHRASE_LENGTH = 1024;
const CHUNK_BYTES = 256 * 1024;

/** StateAdmin of the admin API. One backup at a time, since each holds the whole state in memory. */
export function stateMethods(methods: AdminMethods, takeBackup: TakeBackup | undefined): readonly GrpcMethod[] {
  const backups = createLimit(1, 'backups');
  return [
    methods.stream('backup', async function* backup({ passphrase }) {
      checkPassphrase(passphrase);
      if (takeBackup === undefined) throw new SvidgateError('unimplemented', 'this server has no state to back up');
      using _ = backups.enter();
      const bytes = await takeBackup(passphrase);
      for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
        yield { data: bytes.subarray(start, start + CHUNK_BYTES) };
      }
    }),
  ];
}

/** Never quotes it. */
function checkPassphrase(passphrase: string): void {
  if (passphrase === '') throw invalidField('passphrase', 'missing: the keys in a backup are always encrypted');
  if (passphrase.length < MIN_PASSPHRASE_LENGTH || passphrase.length > MAX_PASSPHRASE_LENGTH) {
    const limits = `${MIN_PASSPHRASE_LENGTH} to ${MAX_PASSPHRASE_LENGTH}`;
    throw invalidField('passphrase', `expected ${limits} characters`);
  }
}
