import { readFile } from 'node:fs/promises';

/**
 * The names of a user or group id in /etc/passwd or /etc/group. Directory services are not asked: a name that only
 * they know gives no `unix:user` or `unix:group` selector.
 */
export async function accountName(file: '/etc/passwd' | '/etc/group', id: number): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  for (const line of text.split('\n')) {
    const [name, , entryId] = line.split(':');
    if (name !== undefined && name !== '' && entryId === String(id)) return name;
  }
  return undefined;
}
