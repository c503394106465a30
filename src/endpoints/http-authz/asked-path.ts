/** How the request that is asked about is described. */
export type RequestScheme = 'envoy' | 'nginx' | 'traefik';

/** What the path of a call is made of: the prefix, then the policy's name where it stands there, then what is left. */
export interface AskedPath {
  /** `/` or a path without a slash at its end. */
  readonly prefix: string;
  /** Whether the next segment names the policy. */
  readonly hasPolicy: boolean;
}

export interface SplitPath {
  /** Absent where the path names none. */
  readonly policy?: string;
  /** Empty, or with a slash at its start. */
  readonly rest: string;
}

/** As they can be configured: nothing in it needs an escape. */
const POLICY_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Undefined for another path. Nothing is unescaped or resolved: the caller's configuration wrote the prefix. */
export function splitAskedPath(target: string, { prefix, hasPolicy }: AskedPath): SplitPath | undefined {
  const start = prefix === '/' ? '' : prefix;
  if (!target.startsWith(start)) return undefined;
  const rest = target.slice(start.length);
  if (rest !== '' && !rest.startsWith('/')) return undefined;
  if (!hasPolicy) return { rest };
  const end = rest.indexOf('/', 1);
  const policy = rest.slice(1, end === -1 ? undefined : end);
  if (!POLICY_SEGMENT.test(policy)) return undefined;
  return { policy, rest: end === -1 ? '' : rest.slice(end) };
}
