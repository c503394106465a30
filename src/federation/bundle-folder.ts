import { readdir } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { formatMistake, readTextFile } from '../config/index.ts';
import { describeError, readSteady, type Logger, type Metrics } from '../core/index.ts';
import {
  parseBundle,
  parseTrustDomain,
  type ForeignBundles,
  type TrustBundle,
  type TrustDomain,
} from '../spiffe/index.ts';

const MAX_FILES = 1000;
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const EXTENSIONS: ReadonlySet<string> = new Set(['.json', '.pem', '.crt']);

export interface BundleFolderOptions {
  readonly folder: string;
  /** Our own, which no file may give. */
  readonly trustDomain: TrustDomain;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Reads the folder; the answer is the same object when nothing changed. */
export type BundleFolder = () => Promise<ForeignBundles>;

interface KnownFile {
  readonly text: string;
  readonly bundle: TrustBundle | undefined;
}

/**
 * A folder with one file for each foreign trust domain: `TRUST_DOMAIN.json` (SPIFFE JSON) or `TRUST_DOMAIN.pem`. A file with a
 * mistake leaves what it gave before; a file that is gone takes its bundle away; a folder that cannot be read changes nothing.
 */
export function createBundleFolder(options: BundleFolderOptions): BundleFolder {
  const known = new Map<string, KnownFile>();
  const warnedOf = new Map<string, string>();
  let current: ForeignBundles = new Map();

  const refuse = (file: string, reason: string): void => {
    if (warnedOf.get(file) === reason) return; // said already, and nothing changed since
    warnedOf.set(file, reason);
    options.metrics.count('svidgate_reload_failures_total', { source: 'bundles' });
    options.logger.warn({ file, reason }, 'bundle refused, the last good one stays');
  };

  const readOne = async (name: string): Promise<void> => {
    const file = join(options.folder, name);
    const before = known.get(name);
    const read = await readSteady(file, () => readTextFile(file, { maxBytes: MAX_FILE_BYTES }));
    if (read.mistake !== undefined) return refuse(file, formatMistake(read.mistake));
    if (read.text === before?.text) return;
    try {
      known.set(name, { text: read.text, bundle: parseBundle(read.text, foreignDomain(name, options.trustDomain)) });
      warnedOf.delete(file);
    } catch (error) {
      refuse(file, describeError(error));
    }
  };

  return async () => {
    let names: readonly string[];
    try {
      names = await bundleFiles(options.folder);
    } catch (error) {
      refuse(options.folder, describeError(error));
      return current;
    }
    for (const name of known.keys()) if (!names.includes(name)) known.delete(name);
    for (const name of names) await readOne(name);
    const found = new Map<TrustDomain, TrustBundle>();
    for (const [name, { bundle }] of known) {
      if (bundle === undefined) continue;
      if (found.has(bundle.trustDomain))
        refuse(join(options.folder, name), 'another file is for this trust domain, too');
      else found.set(bundle.trustDomain, bundle);
    }
    if (!sameBundles(found, current)) current = found;
    return current;
  };
}

/** Sorted; dot files, such as Kubernetes' `..data`, are left out. */
async function bundleFiles(folder: string): Promise<readonly string[]> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.') && EXTENSIONS.has(parse(name).ext));
  return names.sort().slice(0, MAX_FILES);
}

/** Throws `spiffe_id_invalid` or an error that says why the file is for nobody. */
function foreignDomain(name: string, own: TrustDomain): TrustDomain {
  const trustDomain = parseTrustDomain(parse(name).name);
  if (trustDomain === own)
    throw new Error('the file is named after our own trust domain, whose bundle is our own affair');
  return trustDomain;
}

function sameBundles(one: ForeignBundles, other: ForeignBundles): boolean {
  return one.size === other.size && [...one].every(([trustDomain, bundle]) => other.get(trustDomain) === bundle);
}
