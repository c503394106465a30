import { SvidgateError, type Clock } from '../../core/index.ts';
import { readSourceToken } from './source-token.ts';
import { exchangeWithSource, failure, type SourceAnswer } from './source-exchange.ts';
import type { SourceTls } from './source-connection.ts';

/** Where a source is and how it is asked. */
export interface SourceAccess {
  readonly tls: SourceTls;
  /** File with what proves us to the source; read for each question. */
  readonly tokenFile?: string;
  /** Origins besides the source's own that may be asked, such as `https://storage.acme.test`. */
  readonly alsoAsk: readonly string[];
  /** The longest body. */
  readonly maxBytes: number;
  /** Of one question and its answer, beyond what it was told to wait. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

export interface SourceQuestion {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent to the origin of the URL alone. */
  readonly authorization?: string;
  readonly maxBytes?: number;
  readonly signal: AbortSignal;
}

const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * Asks, and follows redirects within the origin and to those that are allowed. Another origin than the first sees neither
 * the token nor our certificate, and is checked by the system's CAs and its name; where it redirects to, also back, is not its
 * choice to be shown the token.
 */
export async function askSource(access: SourceAccess, question: SourceQuestion): Promise<SourceAnswer> {
  const { headers, authorization, maxBytes = access.maxBytes, signal } = question;
  let { url } = question;
  let wasElsewhere = false;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const isOwn = url.origin === question.url.origin;
    wasElsewhere ||= !isOwn;
    const answer = await exchangeWithSource({
      url,
      headers: { ...headers, ...(!wasElsewhere && authorization !== undefined ? { authorization } : {}) },
      tls: isOwn ? access.tls : {},
      maxBytes,
      signal,
    });
    if (!REDIRECTS.has(answer.status)) return answer;
    url = redirected(url, answer.headers.location, [question.url.origin, ...access.alsoAsk]);
  }
  throw failure(`${question.url.host} redirects more than ${MAX_REDIRECTS} times`);
}

function redirected(from: URL, location: string | undefined, allowed: readonly string[]): URL {
  const to = URL.parse(location ?? '', from.href);
  if (location === undefined || to === null) throw failure(`${from.host} redirects to nowhere`);
  if (!allowed.includes(to.origin) || to.username !== '' || to.password !== '')
    throw failure(`${from.host} redirects to ${to.origin}, which is not allowed`);
  return to;
}

/** `Bearer` and the token; undefined where none is configured. */
export async function bearerOf(tokenFile: string | undefined): Promise<string | undefined> {
  if (tokenFile === undefined) return undefined;
  const token = await readSourceToken(tokenFile);
  if (!/^[A-Za-z0-9._~+/=-]+$/.test(token)) {
    throw new SvidgateError('file_unreadable', `${tokenFile} holds no bearer token (RFC 6750 §2.1)`);
  }
  return `Bearer ${token}`;
}
