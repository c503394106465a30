import { generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto';
import { makeCa, makeLeaf } from './certificates.ts';
import type { Vector } from './vector.ts';

type Jwk = Readonly<Record<string, unknown>>;

const BUNDLE = 'SPIFFE Trust Domain and Bundle';

/** SPIFFE bundles of `example.test` in JSON. */
export async function bundleVectors(): Promise<readonly Vector[]> {
  const root = await makeCa();
  const base64 = (der: Uint8Array): string => Buffer.from(der).toString('base64');
  const x509: Jwk = {
    use: 'x509-svid',
    ...publicMembers(new X509Certificate(root.der).publicKey),
    x5c: [base64(root.der)],
  };
  const jwt = (kid: string): Jwk => ({ use: 'jwt-svid', kid, ...ecJwk('P-256') });
  const leaf = Buffer.from(await makeLeaf({}, root));
  const other = base64((await makeCa()).der);
  const { x5c: _, ...withoutX5c } = x509;
  const vector = (
    [clause, name]: readonly [string, string],
    accepts: boolean,
    text: unknown,
    goSpiffe?: string,
  ): Vector => ({
    name: `a bundle with ${name}`,
    clause,
    accepts,
    input: { kind: 'bundle', text: typeof text === 'string' ? text : JSON.stringify(text) },
    ...(goSpiffe === undefined ? {} : { otherwise: { goSpiffe } }),
  });
  const set: readonly Vector[] = [
    vector([`${BUNDLE} §4.1.3`, 'keys of both kinds'], true, { keys: [x509, jwt('a')], spiffe_sequence: 7 }),
    vector([`${BUNDLE} §4.1.3`, 'no keys'], true, { keys: [] }),
    vector([`${BUNDLE} §4.1.3`, 'keys missing'], false, {}),
    vector([`${BUNDLE} §4.1.3`, 'keys that are null'], false, { keys: null }),
    vector([`${BUNDLE} §4.1.3`, 'keys that are no list'], false, { keys: {} }),
    vector([`${BUNDLE} §4.1.3`, 'a key that is no object'], false, { keys: ['a'] }),
    vector([`${BUNDLE} §4`, 'a list for the whole'], false, [x509]),
    vector([`${BUNDLE} §4`, 'text that is no JSON'], false, '{"keys":['),
    vector([`${BUNDLE} §4`, 'something after the JSON'], false, '{"keys":[]} x'),
    vector(['RFC 7517 §4', 'a member twice'], false, '{"keys":[],"keys":[]}', 'it takes the last of two members'),
    vector([`${BUNDLE} §4.1`, 'members that are not defined'], true, { keys: [jwt('a')], a: 1 }),
    vector([`${BUNDLE} §4.2.2`, 'a use in capitals'], true, { keys: [{ ...jwt('a'), use: 'JWT-SVID' }] }),
    vector([`${BUNDLE} §4.2.2`, 'an unknown use'], true, { keys: [{ ...jwt('a'), use: 'sig' }, jwt('b')] }),
    vector([`${BUNDLE} §4.2.2`, 'no use'], true, { keys: [{ ...jwt('a'), use: undefined }, jwt('b')] }),
    vector(
      [`${BUNDLE} §4.2.1`, 'an unknown key type'],
      true,
      { keys: [{ use: 'jwt-svid', kid: 'a', kty: 'a' }, jwt('b')] },
      'it refuses the bundle, where the clause passes the key over',
    ),
    vector(
      ['JWT-SVID §2.1', 'a symmetric key'],
      true,
      { keys: [{ use: 'jwt-svid', kid: 'a', kty: 'oct', k: 'AAAA' }, jwt('b')] },
      'it counts the secret among its keys',
    ),
    vector([`${BUNDLE} §4.1.1`, 'the sequence number 0'], true, { keys: [], spiffe_sequence: 0 }),
    vector([`${BUNDLE} §4.1.1`, 'a sequence number below 0'], false, { keys: [], spiffe_sequence: -1 }),
    vector([`${BUNDLE} §4.1.1`, 'a sequence number that is a text'], false, { keys: [], spiffe_sequence: '1' }),
    vector([`${BUNDLE} §4.1.1`, 'a sequence number with a fraction'], false, { keys: [], spiffe_sequence: 1.5 }),
    vector([`${BUNDLE} §4.1.2`, 'a refresh hint'], true, { keys: [], spiffe_refresh_hint: 300 }),
    vector([`${BUNDLE} §4.1.2`, 'a refresh hint that is a text'], false, { keys: [], spiffe_refresh_hint: '300' }),
    vector(
      [`${BUNDLE} §4.1.2`, 'a refresh hint below 0'],
      false,
      { keys: [], spiffe_refresh_hint: -300 },
      'it takes any whole number',
    ),
    vector(
      ['X509-SVID §6.2', 'an X.509 key without x5c'],
      true,
      { keys: [withoutX5c, x509] },
      'it refuses the bundle, where the clause passes the key over',
    ),
    vector(
      ['X509-SVID §6.2', 'an X.509 key with an empty x5c'],
      true,
      { keys: [{ ...x509, x5c: [] }, x509] },
      'it refuses the bundle, where the clause passes the key over',
    ),
    vector(
      ['X509-SVID §6.2', 'an X.509 key with two certificates'],
      true,
      { keys: [{ ...x509, x5c: [base64(root.der), other] }] },
      'it refuses the bundle, where the clause takes the first',
    ),
    vector(['X509-SVID §6.1', 'an X.509 key with broken bytes'], false, { keys: [{ ...x509, x5c: ['AAAA'] }] }),
    vector(
      ['X509-SVID §6.1', 'a leaf for an X.509 authority'],
      false,
      {
        keys: [
          { use: 'x509-svid', ...publicMembers(new X509Certificate(leaf).publicKey), x5c: [leaf.toString('base64')] },
        ],
      },
      'it takes certificates that are no CA',
    ),
    vector(
      ['RFC 7517 §4.7', 'an X.509 key whose members are not those of its certificate'],
      true,
      { keys: [{ ...x509, x: jwt('a')['x'], y: jwt('a')['y'] }] },
      'it refuses the bundle; X509-SVID §6.2 takes the certificate alone',
    ),
    vector(['JWT-SVID §6.1', 'a JWT key without kid'], false, { keys: [{ ...jwt('a'), kid: undefined }] }),
    vector(['JWT-SVID §6.1', 'a JWT key with an empty kid'], false, { keys: [jwt('')] }),
    vector(
      ['JWT-SVID §6.1', 'two JWT keys of one kid'],
      false,
      { keys: [jwt('a'), jwt('a')] },
      'it takes the last of the two',
    ),
    vector(['RFC 7518 §6.2.1', 'a JWT key off its curve'], false, { keys: [{ ...jwt('a'), x: jwt('b')['x'] }] }),
    vector(['RFC 7518 §6.2.1', 'a JWT key on P-384 and one on P-521'], true, {
      keys: [
        { use: 'jwt-svid', kid: 'a', ...ecJwk('P-384') },
        { use: 'jwt-svid', kid: 'b', ...ecJwk('P-521') },
      ],
    }),
    vector(
      ['RFC 7518 §3.3', 'an RSA key of 1024 bits'],
      false,
      { keys: [{ use: 'jwt-svid', kid: 'a', ...rsaJwk(1024) }] },
      'it takes RSA keys of any size',
    ),
    vector(['RFC 7518 §3.3', 'an RSA key of 2048 bits'], true, {
      keys: [{ use: 'jwt-svid', kid: 'a', ...rsaJwk(2048) }],
    }),
  ];
  return set;
}

function publicMembers(key: KeyObject): Jwk {
  const { kty, crv, x, y, n, e } = key.export({ format: 'jwk' });
  return { kty, crv, x, y, n, e };
}

function ecJwk(namedCurve: string): Jwk {
  return publicMembers(generateKeyPairSync('ec', { namedCurve }).publicKey);
}

function rsaJwk(modulusLength: number): Jwk {
  return publicMembers(generateKeyPairSync('rsa', { modulusLength }).publicKey);
}
