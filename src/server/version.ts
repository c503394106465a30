import { readFile } from 'node:fs/promises';

/** The version of svidgate, from its package.json: two folders up, from src/server as from dist/server. */
export async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}
