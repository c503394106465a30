/**
 * Keeps one downloaded bundle after the other, for a test that kills it: `node kept-bundles-program.ts FOLDER FIRST`. Each line
 * of its output is the number of a bundle that is on disk.
 */
import { createKeptBundleFiles } from '../../src/datastore/index.ts';
import { encodeDownloadedBundle, type DownloadedBundle } from '../../src/policy/download/kept-bundle.ts';

export const PLACE = 'https://bundles.test/b';
export const POLICY = 'default';

/** The bundle of this number: whose parts are of various sizes and say which it is. */
export function numberedBundle(number: number): DownloadedBundle {
  const part = (size: number): Uint8Array => Buffer.alloc(size, `${number},`);
  return {
    place: PLACE,
    etag: `"${number}"`,
    downloadedAt: number,
    parts: [part(500_000 + number), part(number % 1000)],
  };
}

async function main(folder: string, first: number): Promise<void> {
  const files = createKeptBundleFiles({ path: folder, close: () => Promise.resolve() }, { policies: [POLICY] });
  for (let number = first; ; number += 1) {
    await files.save(POLICY, encodeDownloadedBundle(numberedBundle(number)));
    process.stdout.write(`${number}\n`);
  }
}

if (import.meta.main) await main(process.argv[2]!, Number(process.argv[3]));
