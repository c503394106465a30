import { normalize } from 'node:path';

/** A name of Istio's for files. */
export type FileName =
  | { readonly kind: 'file-cert'; readonly certificate: string; readonly privateKey: string }
  | { readonly kind: 'file-root'; readonly ca: string };

const FILE_CERT = 'file-cert:';
const FILE_ROOT = 'file-root:';
/** Of one path, in characters. */
const MAX_PATH_LENGTH = 1024;
// eslint-disable-next-line no-control-regex -- they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

/**
 * `file-cert:CERTIFICATE~KEY` or `file-root:CA`, with absolute normalised paths; undefined for all else. `file-root:system`
 * is none: which CAs a system trusts is no secret of ours to hand out.
 */
export function parseFileName(name: string): FileName | undefined {
  if (name.startsWith(FILE_ROOT)) {
    const ca = name.slice(FILE_ROOT.length);
    return isPlainPath(ca) ? { kind: 'file-root', ca } : undefined;
  }
  if (!name.startsWith(FILE_CERT) || name.length > FILE_CERT.length + 2 * MAX_PATH_LENGTH + 1) return undefined;
  const [certificate = '', privateKey = '', ...rest] = name.slice(FILE_CERT.length).split('~');
  if (rest.length > 0 || !isPlainPath(certificate) || !isPlainPath(privateKey)) return undefined;
  return { kind: 'file-cert', certificate, privateKey };
}

/** Istio parts its names at `~`, so no path has one. */
function isPlainPath(path: string): boolean {
  if (path.length > MAX_PATH_LENGTH || !path.startsWith('/') || path.endsWith('/')) return false;
  return normalize(path) === path && !path.includes('~') && !CONTROL.test(path) && path.isWellFormed();
}
