/** Whom the policies may ask, and how much. */
export interface HttpSendRules {
  /** At least one. */
  readonly allow: readonly AllowedOrigin[];
  /** Of one exchange; the deadline of the decision holds, too. */
  readonly timeoutMs: number;
  /** Of one body. */
  readonly maxResponseBytes: number;
  /** Exchanges of one policy at a time. */
  readonly maxInFlight: number;
  /** For each policy: how much is kept from one decision to the next. */
  readonly cacheBytes: number;
  /** PEM of the CAs that servers are checked with, read for each exchange; Node's own when undefined. */
  readonly caFile?: string;
}

/** As the parser of URLs writes it: lower case, IDNA, addresses in their shortest form. */
export interface AllowedOrigin {
  readonly scheme: 'http' | 'https';
  readonly hostname: string;
  /** Whether `hostname` stands for all names beneath it, and not for itself. */
  readonly isSuffix: boolean;
  readonly port: number;
}

/** An origin that was asked for. */
export interface Origin {
  readonly scheme: 'http' | 'https';
  /** Without the brackets of an IPv6 address. */
  readonly hostname: string;
  readonly port: number;
  /** With the port, unless it is the scheme's own. */
  readonly host: string;
}

const DEFAULT_PORTS = { http: 80, https: 443 } as const;

/** Reads a scheme and a host with or without a port. Undefined where there is anything more, or less. */
export function parseOrigin(scheme: string, host: string): Origin | undefined {
  // The parser drops line feeds and tabs.
  if ((scheme !== 'http' && scheme !== 'https') || /[\s\p{Cc}]/u.test(host)) return undefined;
  const url = URL.parse(`${scheme}://${host}/`);
  if (url === null || /[/?#@\\]/.test(host) || url.href !== `${scheme}://${url.host}/`) return undefined;
  const port = url.port === '' ? DEFAULT_PORTS[scheme] : Number(url.port);
  return { scheme, hostname: url.hostname.replace(/^\[|\]$/g, ''), port, host: url.host };
}

export function isAllowed(origin: Origin, allowed: readonly AllowedOrigin[]): boolean {
  return allowed.some(
    (each) => each.scheme === origin.scheme && each.port === origin.port && covers(each, origin.hostname),
  );
}

/** Whether the name belongs to an origin that may be asked: only then it may be looked up. */
export function isAllowedName(name: string, allowed: readonly AllowedOrigin[]): boolean {
  const origin = parseOrigin('https', name);
  return origin !== undefined && !/[:[\]]/.test(name) && allowed.some((each) => covers(each, origin.hostname));
}

function covers({ hostname, isSuffix }: AllowedOrigin, asked: string): boolean {
  if (!isSuffix) return hostname.replace(/^\[|\]$/g, '') === asked;
  return asked.length > hostname.length + 1 && asked.endsWith(`.${hostname}`);
}
