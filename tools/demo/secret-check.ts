import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mesh } from './mesh.ts';
import { fetchOwnIdentity } from './observer.ts';
import { findSecrets, KEY_NEEDLES, needlesOfDataDirectory, needlesOfKey, searchableFiles } from './secrets.ts';
import type { Check, Table } from './table.ts';

/** Looks through all that the run has written, and through what svidgate and the Envoys say of themselves. */
export function secretCheck(mesh: Mesh, table: Table): Check {
  return {
    name: 'no key, token or cookie in any output',
    expected: 'nothing found',
    logs: [],
    run: async () => {
      const { dir } = mesh.folder;
      const observer = await fetchOwnIdentity(mesh.workloadSocket);
      const needles = [
        ...KEY_NEEDLES,
        ...(await needlesOfDataDirectory(join(dir, 'data'))),
        ...needlesOfKey('the key of observer', observer.privateKey),
        { what: 'the bearer token', text: mesh.sent.bearerToken },
        { what: 'the cookie', text: mesh.sent.cookie },
        { what: 'the passphrase', text: mesh.sent.passphrase },
      ];
      const texts = new Map(await searchableFiles(dir));
      texts.set('the output', table.transcript);
      texts.set('/metrics', await mesh.svidgate.metrics());
      for (const envoy of Object.values(mesh.envoys)) {
        texts.set(`/config_dump of ${envoy.name}`, await envoy.admin('/config_dump'));
      }
      const found = findSecrets(texts, needles);
      const bytes = [...texts.values()].reduce((sum, text) => sum + text.length, 0);
      const searched = `${needles.length} texts sought in ${texts.size} files and pages, ${Math.round(bytes / 1024)} kB`;
      return { passed: found.length === 0, seen: found.length === 0 ? `nothing; ${searched}` : found.join('; ') };
    },
  };
}

/** Leaves what was sent with the files of the run, for those who search them again. */
export async function writeSentSecrets(mesh: Pick<Mesh, 'folder' | 'sent'>): Promise<void> {
  await writeFile(join(mesh.folder.dir, 'sent-secrets.json'), JSON.stringify(mesh.sent), { mode: 0o600 });
}
