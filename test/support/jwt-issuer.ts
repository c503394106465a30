import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CompactSign, exportJWK } from 'jose';

/** An outside issuer of tokens, on jose: another implementation than what checks them. */
export interface JwtIssuer {
  readonly keyId: string;
  readonly privateKey: KeyObject;
  /** Its public key as an entry of a JWKS. */
  readonly jwk: Readonly<Record<string, unknown>>;
}

export type KeyKind = 'rsa' | 'P-256' | 'P-384' | 'P-521';

export async function makeJwtIssuer(keyId: string, kind: KeyKind = 'P-256'): Promise<JwtIssuer> {
  const { privateKey, publicKey } =
    kind === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: kind });
  return { keyId, privateKey, jwk: { ...(await exportJWK(publicKey)), kid: keyId, use: 'sig' } };
}

export function jwksOf(...issuers: readonly JwtIssuer[]): string {
  return JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) });
}

/** A token with a good signature, whatever it says. `claims` may be text that is no JSON; a header of undefined is left out. */
export async function signJwt(
  issuer: JwtIssuer,
  claims: string | Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const payload = Buffer.from(typeof claims === 'string' ? claims : JSON.stringify(claims));
  const full = { alg: issuer.privateKey.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256', kid: issuer.keyId, ...header };
  return await new CompactSign(payload).setProtectedHeader(full).sign(issuer.privateKey, { crit: { x: true } });
}

const encode = (text: string): string => Buffer.from(text).toString('base64url');

/** A token put together by hand, signed by nobody or with a shared secret. */
export function forgeJwt(
  parts: {
    readonly header: Readonly<Record<string, unknown>> | string;
    readonly claims: Readonly<Record<string, unknown>>;
  },
  secret?: string | Uint8Array,
): string {
  const header = typeof parts.header === 'string' ? parts.header : JSON.stringify(parts.header);
  const content = `${encode(header)}.${encode(JSON.stringify(parts.claims))}`;
  return `${content}.${secret === undefined ? '' : createHmac('sha256', secret).update(content).digest('base64url')}`;
}
