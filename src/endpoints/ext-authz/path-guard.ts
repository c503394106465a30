/** `authz.path_guard`: what is done with paths that services may read in more than one way. */
export type PathGuard = 'off' | 'reject' | 'normalize';

/** `..` as a segment, empty segments, backslashes, and their escapes. */
const AMBIGUOUS = /\\|%2f|%5c|\/\/|(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i;

const SAME = /^(?:\.|%2e)$/i;
const PARENT = /^(?:\.|%2e){2}$/i;

/** Whether the path of a request target, before any `?`, has `.` or `..` segments, `//`, `\`, `%2f` or `%5c`. */
export function isAmbiguous(target: string): boolean {
  return AMBIGUOUS.test(splitTarget(target).path);
}

/**
 * The target as Envoy sends it on with `normalize_path`, `merge_slashes` and
 * `path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD`. Each escape is read once: `%252f` stays. A target that is
 * no absolute path stays as it is.
 */
export function normalizeTarget(target: string): string {
  const { path, query } = splitTarget(target);
  if (!path.startsWith('/')) return target;
  const segments: string[] = [];
  const parts = path.replaceAll(/\\|%2f|%5c/gi, '/').split('/');
  for (const part of parts) {
    if (PARENT.test(part)) segments.pop();
    else if (part !== '' && !SAME.test(part)) segments.push(part);
  }
  const last = parts.at(-1) ?? '';
  const isFolder = segments.length > 0 && (last === '' || SAME.test(last) || PARENT.test(last));
  return `/${segments.join('/')}${isFolder ? '/' : ''}${query}`;
}

function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const mark = target.indexOf('?');
  return mark === -1 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark) };
}
