/** `authz.path_guard`: what is done with paths that services may read in more than one way. */
export type PathGuard = 'off' | 'reject' | 'normalize';

/** What a guard makes of a request target: refused, or what the policy sees in its place where that is another. */
export type GuardedTarget = 'refused' | { readonly seen?: string };

/** `.` and `..` as a segment, also with parameters, empty segments, backslashes, semicolons, and their escapes. */
const AMBIGUOUS = /\\|;|%2f|%5c|%3b|\/\/|(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i;

/** `/..;x`: Envoy goes up there from 1.36.10, 1.37.6, 1.38.4 and 1.39.1 on, and before that only some services do. */
const DOTS_WITH_PARAMETERS = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:;|%3b)/i;

const SAME = /^(?:\.|%2e)$/i;
const PARENT = /^(?:\.|%2e){2}$/i;

export function guardTarget(target: string, guard: PathGuard): GuardedTarget {
  if (guard === 'off') return {};
  if (guard === 'reject') return isAmbiguous(target) ? 'refused' : {};
  if (DOTS_WITH_PARAMETERS.test(splitTarget(target).path)) return 'refused';
  const seen = normalizeTarget(target);
  return seen === target ? {} : { seen };
}

/** Whether the path of a request target, before any `?`, has dot segments, `//`, `\`, `;`, `%2f`, `%5c` or `%3b`. */
export function isAmbiguous(target: string): boolean {
  return AMBIGUOUS.test(splitTarget(target).path);
}

/** What `normalizeTarget` may change. */
const NOT_PLAIN = /[\\%"<>^`{|}]|\/\/|\/\.{1,2}(?:\/|$)/;
const BAD_ESCAPE = /%(?![0-9a-f]{2})/i;

/**
 * The target as Envoy sends it on with `normalize_path`, `merge_slashes` and
 * `path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD`. Each escape is read once: `%252f` stays. What is no absolute
 * path, or has a bad escape, stays as it is.
 */
export function normalizeTarget(target: string): string {
  const { path, query } = splitTarget(target);
  if (!path.startsWith('/') || !NOT_PLAIN.test(path) || BAD_ESCAPE.test(path)) return target;
  const segments: string[] = [];
  const parts = path
    .slice(1)
    .replaceAll(/\\|%2f|%5c/gi, '/')
    .split('/');
  for (const [index, part] of parts.entries()) {
    const isDots = SAME.test(part) || PARENT.test(part);
    // Before slashes are merged: `/a//../b` is `/a/b`.
    if (PARENT.test(part)) segments.pop();
    if (!isDots) segments.push(canonical(part));
    else if (index === parts.length - 1) segments.push('');
  }
  return mergeSlashes(`/${segments.join('/')}`) + query;
}

/** Escapes that need none are taken out, and what needs one gets it. */
function canonical(segment: string): string {
  return segment
    .replaceAll(/["<>^`{|}]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll(/%(?:2[de]|3\d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/gi, (escape) => {
      return String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    });
}

/** Of nothing but slashes Envoy leaves two. */
function mergeSlashes(path: string): string {
  if (!path.includes('//')) return path;
  const segments = path.split('/').filter((segment) => segment !== '');
  return `/${segments.join('/')}${path.endsWith('/') ? '/' : ''}`;
}

function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const mark = target.indexOf('?');
  return mark === -1 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark) };
}
