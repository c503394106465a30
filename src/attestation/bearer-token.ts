import { readFile } from 'node:fs/promises';

/** The value of an Authorization header with the token of the file. Throws when it holds none; never quotes it. */
export async function bearerToken(file: string): Promise<string> {
  const token = (await readFile(file, 'utf8')).trim();
  // A text that HTTP does not take would be quoted by its error.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Error(`${file} holds no token`);
  return `Bearer ${token}`;
}
