import { failure, type SourceAnswer } from './source-exchange.ts';
import { askSource, type SourceAccess } from './source-http.ts';
import { readSourceToken } from './source-token.ts';

/** GET at an OCI registry, with the authorization that it asks for. */
export interface RegistryClient {
  get(path: string, question: RegistryQuestion): Promise<SourceAnswer>;
}

export interface RegistryQuestion {
  readonly accept: string;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

interface Credentials {
  /** `USER:PASSWORD` in base64, for the registry or its token service, whichever asks. */
  readonly basic?: string;
  /** For the registry itself. */
  readonly bearer?: string;
}

const MAX_TOKEN_ANSWER_BYTES = 64 * 1024;
const TOKEN = /^[A-Za-z0-9._~+/=-]+$/;

/**
 * The origin of a registry (`https://ghcr.io`) as a client for one repository. Tokens of a token service are kept until the
 * registry refuses them. Our credentials go to the registry and, when it asks for that, to its token service, which must be
 * at the same origin or one that is allowed; to nobody else.
 */
export function createRegistryClient(origin: string, repository: string, access: SourceAccess): RegistryClient {
  let token: string | undefined;

  const send = async (path: string, question: RegistryQuestion, authorization?: string): Promise<SourceAnswer> => {
    const { accept, maxBytes, signal } = question;
    return await askSource(access, {
      url: new URL(`/v2/${repository}/${path}`, origin),
      headers: { accept, 'accept-encoding': 'identity' },
      ...(authorization === undefined ? {} : { authorization }),
      maxBytes,
      signal,
    });
  };

  /** Undefined when there is nothing to show that the registry would take. */
  const authorize = async (
    challenge: Challenge,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<string | undefined> => {
    const { basic } = credentials;
    if (challenge.scheme === 'basic') return basic === undefined ? undefined : `Basic ${basic}`;
    const url = tokenUrl(challenge, `repository:${repository}:pull`);
    if (![origin, ...access.alsoAsk].includes(url.origin))
      throw failure(`${hostOf(origin)} has its tokens at ${url.origin}, which is not allowed`);
    const isOwn = url.origin === origin;
    // The token service has a certificate of its own, unless it is the registry itself.
    const answer = await askSource(isOwn ? access : { ...access, tls: {} }, {
      url,
      headers: { accept: 'application/json', 'accept-encoding': 'identity' },
      ...(basic === undefined ? {} : { authorization: `Basic ${basic}` }),
      maxBytes: MAX_TOKEN_ANSWER_BYTES,
      signal,
    });
    if (answer.status !== 200) throw failure(`the token service ${url.host} answers with status ${answer.status}`);
    token = tokenOf(answer.body, url.host);
    return `Bearer ${token}`;
  };

  return {
    async get(path, question) {
      const credentials = await credentialsOf(access.tokenFile);
      const known = credentials.bearer ?? token;
      const first = await send(path, question, known === undefined ? undefined : `Bearer ${known}`);
      if (first.status !== 401) return first;
      token = undefined;
      const challenge = parseChallenge(first.headers['www-authenticate'] ?? '');
      if (challenge === undefined || credentials.bearer !== undefined) return first;
      const authorization = await authorize(challenge, credentials, question.signal);
      return authorization === undefined ? first : await send(path, question, authorization);
    },
  };
}

async function credentialsOf(tokenFile: string | undefined): Promise<Credentials> {
  if (tokenFile === undefined) return {};
  const text = await readSourceToken(tokenFile);
  if (text.includes(':')) return { basic: Buffer.from(text, 'utf8').toString('base64') };
  if (!TOKEN.test(text)) throw failure(`${tokenFile} holds neither USER:PASSWORD nor a bearer token`);
  return { bearer: text };
}

interface Challenge {
  readonly scheme: 'basic' | 'bearer';
  readonly parameters: ReadonlyMap<string, string>;
}

/** The first challenge of `WWW-Authenticate` (RFC 9110 §11.6.1) that we know. */
export function parseChallenge(header: string): Challenge | undefined {
  const start = /(?:^|,\s*)(basic|bearer)(?:\s+|$)/i.exec(header);
  if (start === null) return undefined;
  const parameters = new Map<string, string>();
  const pair = /\s*([A-Za-z0-9_-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)/y;
  pair.lastIndex = start.index + start[0].length;
  for (let found = pair.exec(header); found !== null; found = pair.exec(header)) {
    const [, name = '', quoted, plain = ''] = found;
    parameters.set(name.toLowerCase(), quoted === undefined ? plain : quoted.replaceAll(/\\(.)/g, '$1'));
  }
  return { scheme: start[1]?.toLowerCase() === 'basic' ? 'basic' : 'bearer', parameters };
}

function tokenUrl({ parameters }: Challenge, scope: string): URL {
  const url = URL.parse(parameters.get('realm') ?? '');
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.username !== '')
    throw failure('the registry names no token service');
  const service = parameters.get('service');
  if (service !== undefined) url.searchParams.set('service', service);
  // Our own, not the registry's: a token for more than this repository is not wanted.
  url.searchParams.set('scope', scope);
  return url;
}

function tokenOf(body: Uint8Array, host: string): string {
  let answer: unknown;
  try {
    answer = JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw failure(`the token service ${host} does not answer with JSON`);
  }
  const { token, access_token: accessToken } = (answer ?? {}) as {
    readonly token?: unknown;
    readonly access_token?: unknown;
  };
  const given = token ?? accessToken;
  if (typeof given === 'string' && TOKEN.test(given)) return given;
  throw failure(`the token service ${host} gives no token`);
}

function hostOf(origin: string): string {
  return new URL(origin).host;
}
