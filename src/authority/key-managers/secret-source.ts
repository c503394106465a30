import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { SvidgateError } from '../../core/index.ts';

/** Where a secret of the operator is: a file (absolute path), or a variable of the environment. */
export type SecretSource =
  { readonly file: string; readonly env?: never } | { readonly env: string; readonly file?: never };

const MAX_SECRET_BYTES = 4096;
/** A group may read: Kubernetes gives mounted secrets to the pod's group. */
const OPEN_TO_OTHERS = 0o037;

/** The file's path or the variable's name, for messages. */
export function nameOfSource(source: SecretSource): string {
  return source.file === undefined ? `the environment variable ${source.env}` : source.file;
}

/**
 * The text without white space at its end. The file has at most 4096 bytes, belongs to us or to root, and is closed to
 * others: at most its group may read it. Throws `file_unreadable`, or `config_invalid` when there is no text; neither has
 * anything of the secret in it.
 */
export async function readSecret(source: SecretSource): Promise<string> {
  const text = source.file === undefined ? process.env[source.env] : await readSecretFile(source.file);
  const secret = text?.trimEnd() ?? '';
  if (secret !== '') return secret;
  throw new SvidgateError('config_invalid', `${nameOfSource(source)} is ${text === undefined ? 'not set' : 'empty'}`);
}

async function readSecretFile(path: string): Promise<string> {
  try {
    // Not blocking, so that a FIFO is refused rather than waited for.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const { uid, mode, size, ...found } = await file.stat().then((stat) => ({
      uid: stat.uid,
      mode: stat.mode,
      size: stat.size,
      isFile: stat.isFile(),
    }));
    if (!found.isFile) throw refused(path, 'it is not a regular file');
    if (uid !== 0 && uid !== process.geteuid?.()) throw refused(path, `it belongs to user ${uid}`);
    if ((mode & OPEN_TO_OTHERS) !== 0) throw refused(path, 'others may read or change it: chmod 600 it');
    if (size > MAX_SECRET_BYTES) throw refused(path, `it has more than ${MAX_SECRET_BYTES} bytes`);
    return await file.readFile('utf8');
  } catch (cause) {
    if (cause instanceof SvidgateError) throw cause;
    throw new SvidgateError('file_unreadable', `${path} cannot be read`, { cause });
  }
}

function refused(path: string, reason: string): SvidgateError {
  return new SvidgateError('file_unreadable', `${path} is not used as a secret: ${reason}`);
}
