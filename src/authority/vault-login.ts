import { SvidgateError } from '../core/index.ts';
import { readSecret } from './key-managers/secret-source.ts';
import { readTextFile } from './read-text-file.ts';
import type { Json, VaultAnswer, VaultMethod } from './vault-connection.ts';

/** How to log in to Vault or OpenBao. Each file is read anew at each login. */
export type VaultAuth =
  /** A token that others keep alive, such as the sink of a Vault agent; read again whenever it changes. */
  | { readonly kind: 'token_file'; readonly file: string }
  | { readonly kind: 'token_env'; readonly variable: string }
  | { readonly kind: 'approle'; readonly mount: string; readonly roleId: string; readonly secretIdFile: string }
  | { readonly kind: 'kubernetes'; readonly mount: string; readonly role: string; readonly jwtFile: string }
  | {
      readonly kind: 'certificate';
      readonly mount: string;
      readonly certificateFile: string;
      readonly keyFile: string;
    };

/** A token and for how long it is good. Never logged. */
export interface VaultLogin {
  readonly token: string;
  /** Milliseconds; 0: it does not end, as far as we know. */
  readonly leaseMs: number;
  /** Whether a longer life can be asked for. Tokens that we made are replaced instead. */
  readonly isRenewable: boolean;
}

/** One request with this token, or none. */
export type Exchange = (call: {
  readonly method: VaultMethod;
  readonly path: string;
  readonly body?: Json;
  readonly token?: string;
}) => Promise<VaultAnswer>;

/** The server refused the login. */
export class LoginRefusal extends Error {
  override readonly name = 'LoginRefusal';
  readonly answer: VaultAnswer;

  constructor(answer: VaultAnswer) {
    super('the login was refused');
    this.answer = answer;
  }
}

/** A service account's token is about 1 KiB. */
const MAX_JWT_BYTES = 64 * 1024;

/** Whether logging in makes a new token, which is ours to give back. */
export function makesTokens(auth: VaultAuth): boolean {
  return auth.kind !== 'token_file' && auth.kind !== 'token_env';
}

/** Throws LoginRefusal, and the errors of reading a file and of `exchange`. */
export async function logIn(auth: VaultAuth, exchange: Exchange): Promise<VaultLogin> {
  switch (auth.kind) {
    case 'token_file':
    case 'token_env':
      return await lookUp(await givenToken(auth), exchange);
    case 'approle': {
      const secretId = await readSecret({ file: auth.secretIdFile });
      return await logInBy(auth.mount, { role_id: auth.roleId, secret_id: secretId }, exchange);
    }
    case 'kubernetes': {
      const jwt = (await readTextFile(auth.jwtFile, MAX_JWT_BYTES)).trim();
      return await logInBy(auth.mount, { role: auth.role, jwt }, exchange);
    }
    case 'certificate':
      return await logInBy(auth.mount, {}, exchange);
  }
}

/** The token as its file or variable has it now. */
export async function givenToken(auth: VaultAuth & { readonly kind: 'token_file' | 'token_env' }): Promise<string> {
  const token = await readSecret(auth.kind === 'token_file' ? { file: auth.file } : { env: auth.variable });
  if (!/^[\x21-\x7e]+$/.test(token)) {
    const place = auth.kind === 'token_file' ? auth.file : `the environment variable ${auth.variable}`;
    throw new SvidgateError('config_invalid', `${place} holds no token: it has spaces or other bytes in it`);
  }
  return token;
}

async function logInBy(mount: string, body: Json, exchange: Exchange): Promise<VaultLogin> {
  const answer = await exchange({ method: 'POST', path: `auth/${encodePath(mount)}/login`, body });
  return toLogin(answer) ?? refuse(answer);
}

/** A token without the right to look itself up is used as it is. */
async function lookUp(token: string, exchange: Exchange): Promise<VaultLogin> {
  const { status, body } = await exchange({ method: 'GET', path: 'auth/token/lookup-self', token });
  if (status >= 500) refuse({ status, body });
  const { ttl, renewable } = asObject(body?.['data']);
  return { token, leaseMs: secondsToMs(ttl), isRenewable: renewable === true };
}

/** Asks for a longer life of a token that was given. Undefined when that was refused. */
export async function renew(login: VaultLogin, exchange: Exchange): Promise<VaultLogin | undefined> {
  const answer = await exchange({ method: 'POST', path: 'auth/token/renew-self', body: {}, token: login.token });
  return toLogin(answer);
}

function toLogin({ status, body }: VaultAnswer): VaultLogin | undefined {
  const { client_token: token, lease_duration: seconds, renewable } = asObject(body?.['auth']);
  if (status !== 200 || typeof token !== 'string' || token === '') return undefined;
  return { token, leaseMs: secondsToMs(seconds), isRenewable: renewable === true };
}

function refuse(answer: VaultAnswer): never {
  throw new LoginRefusal(answer);
}

function secondsToMs(value: unknown): number {
  return typeof value === 'number' && value > 0 ? value * 1000 : 0;
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

/**
 * A mount for a URL: its segments are encoded, the slashes between them stay. Throws `config_invalid` where a segment is
 * empty or would lead elsewhere.
 */
export function encodePath(mount: string): string {
  const segments = mount.split('/');
  if (segments.some((segment) => ['', '.', '..'].includes(segment))) {
    throw new SvidgateError('config_invalid', `${mount} is no mount: expected a path such as pki or team/pki`);
  }
  return segments.map(encodeURIComponent).join('/');
}
