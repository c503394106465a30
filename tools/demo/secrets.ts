import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** A text that may stand nowhere, and what it is. */
export interface Needle {
  readonly what: string;
  readonly text: string;
}

/** How every unencrypted P-256 key in PKCS #8 begins in base64 (RFC 5915, RFC 5208): the same 36 bytes each time. */
const P256_PKCS8_PREFIX = 'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg';

/** How every JWT-SVID of an ES256 key begins. */
const JWT_SVID_PREFIX = Buffer.from('{"alg":"ES256","kid":').toString('base64url').slice(0, 26);

/** Where the private part stands in such a key. */
const SCALAR = { start: 36, end: 68 } as const;

/** What gives away any key or token of this run, whoever holds it. */
export const KEY_NEEDLES: readonly Needle[] = [
  { what: 'a P-256 private key', text: P256_PKCS8_PREFIX },
  { what: 'a private key in PEM', text: 'PRIVATE KEY-----' },
  { what: 'a JWT-SVID', text: JWT_SVID_PREFIX },
];

/** All forms in which one PEM private key might have been written. */
export function needlesOfKey(what: string, pem: string): readonly Needle[] {
  const body = /-----BEGIN PRIVATE KEY-----([^-]+)-----END/.exec(pem)?.[1];
  if (body === undefined) throw new Error(`${what}: no private key in PEM`);
  const lines = body.trim().split(/\s+/);
  const der = Buffer.from(lines.join(''), 'base64');
  const scalar = der.subarray(SCALAR.start, SCALAR.end);
  const texts = [
    ...lines.filter((line) => line.length >= 16),
    lines.join('').slice(P256_PKCS8_PREFIX.length, P256_PKCS8_PREFIX.length + 32),
    scalar.toString('hex'),
    scalar.toString('hex').toUpperCase(),
    scalar.toString('base64').slice(0, 40),
    scalar.toString('base64url').slice(0, 40),
  ];
  return texts.map((text) => ({ what, text }));
}

/** The keys of the CA in a data directory. Throws when there is none, because then nothing was checked. */
export async function needlesOfDataDirectory(dataDir: string): Promise<readonly Needle[]> {
  const files = await filesBeneath(dataDir);
  const keys = (await Promise.all(files.map(async (file) => readFile(file, 'latin1')))).filter((text) =>
    text.includes('BEGIN PRIVATE KEY'),
  );
  if (keys.length === 0) throw new Error(`no CA key in ${dataDir}`);
  return keys.flatMap((pem) => needlesOfKey('the key of the CA', pem));
}

/** The files of a run that hold secrets by their purpose: not searched. */
export const HOLDS_SECRETS: readonly string[] = ['data', 'bin', 'passphrase', 'sent-secrets.json'];

/** Every file beneath a run folder that must hold no secret, with its text. */
export async function searchableFiles(dir: string): Promise<ReadonlyMap<string, string>> {
  const tops = (await readdir(dir)).filter((name) => !HOLDS_SECRETS.includes(name));
  const files = (await Promise.all(tops.map(async (name) => filesBeneath(join(dir, name))))).flat();
  const texts = await Promise.all(
    files.map(async (file) => [relative(dir, file), await readFile(file, 'latin1')] as const),
  );
  return new Map(texts);
}

/** One line for each secret found: what it is and where. Never the secret. */
export function findSecrets(texts: ReadonlyMap<string, string>, needles: readonly Needle[]): readonly string[] {
  const found = new Set<string>();
  for (const [name, text] of texts) {
    for (const needle of needles) if (text.includes(needle.text)) found.add(`${needle.what} in ${name}`);
  }
  return [...found];
}

async function filesBeneath(path: string): Promise<readonly string[]> {
  const what = await stat(path);
  if (what.isFile()) return [path];
  if (!what.isDirectory()) return [];
  const names = await readdir(path);
  return (await Promise.all(names.map(async (name) => filesBeneath(join(path, name))))).flat();
}
