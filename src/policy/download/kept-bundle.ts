import { hash } from 'node:crypto';

/** Where downloaded bundles outlive the process. Whoever may write to it decides what is allowed, unless they are signed. */
export interface KeptBundles {
  /** What was saved for the policy, and when it was last saved or touched; undefined when there is nothing. */
  load(policy: string): Promise<{ readonly bytes: Uint8Array; readonly touchedAt: number } | undefined>;
  /** In place of what was there: whole, or not at all. */
  save(policy: string, bytes: Uint8Array): Promise<void>;
  /** Says that what is there is still the newest. */
  touch(policy: string): Promise<void>;
}

/** A bundle as it came: a snapshot, and the changes that were made to it since. */
export interface DownloadedBundle {
  /** Where it is from. Another place's bundle is not used. */
  readonly place: string;
  readonly etag?: string;
  /** When the last part of it came, epoch milliseconds. */
  readonly downloadedAt: number;
  readonly parts: readonly Uint8Array[];
}

const FORMAT = 'svidgate-bundle-1';
/** Of the first line. */
const MAX_HEADER_BYTES = 64 * 1024;

interface Header {
  readonly format: typeof FORMAT;
  /** A hash: an address can hold a secret. */
  readonly place: string;
  readonly etag?: string;
  readonly downloadedAt: number;
  readonly parts: readonly { readonly bytes: number; readonly sha256: string }[];
}

/** A line of JSON with lengths and hashes, then the parts. */
export function encodeDownloadedBundle({ place, parts, ...rest }: DownloadedBundle): Uint8Array {
  const header: Header = {
    format: FORMAT,
    place: hash('sha256', place),
    ...rest,
    parts: parts.map((part) => ({ bytes: part.length, sha256: hash('sha256', part) })),
  };
  const line = JSON.stringify(header);
  return Buffer.concat([Buffer.from(`${hash('sha256', line)} ${line}\n`), ...parts]);
}

/** Undefined for what is damaged, of another format, or from another place. */
export function decodeDownloadedBundle(place: string, bytes: Uint8Array): DownloadedBundle | undefined {
  const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(0x0a);
  const [, digest, line = ''] =
    /^([0-9a-f]{64}) (.*)$/.exec(new TextDecoder().decode(bytes.subarray(0, Math.max(end, 0)))) ?? [];
  if (digest === undefined || digest !== hash('sha256', line)) return undefined;
  const header = JSON.parse(line) as Header;
  if (header.format !== FORMAT || header.place !== hash('sha256', place)) return undefined;
  const parts: Uint8Array[] = [];
  let at = end + 1;
  for (const { bytes: length, sha256 } of header.parts) {
    const part = bytes.subarray(at, at + length);
    if (hash('sha256', part) !== sha256) return undefined;
    parts.push(part);
    at += length;
  }
  if (at !== bytes.length || parts.length === 0) return undefined;
  const { etag, downloadedAt } = header;
  return { place, ...(etag === undefined ? {} : { etag }), downloadedAt, parts };
}
