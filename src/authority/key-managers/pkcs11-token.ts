import { randomBytes } from 'node:crypto';
import type { KeyType } from '../key-manager.ts';
import { CKA, CKM, CKO, TOKEN_FLAGS } from './pkcs11-codes.ts';
import {
  Pkcs11Error,
  type Attribute,
  type Handle,
  type KeyPairTemplates,
  type Pkcs11Library,
} from './pkcs11-library.ts';

/** Which token: by its label, or by the number of its slot. */
export type TokenSelector =
  { readonly label: string; readonly slot?: never } | { readonly slot: number; readonly label?: never };

/** A key pair in the token; the attributes of its public half, as the token gives them. */
export interface TokenKey {
  /** CKA_ID, in hexadecimal: tells the keys apart that one label had in turn. */
  readonly tokenId: string;
  readonly ecPoint?: Uint8Array;
  readonly modulus?: Uint8Array;
  readonly publicExponent?: Uint8Array;
}

export interface TokenSignRequest {
  readonly label: string;
  readonly tokenId: string;
  readonly mechanism: 'ecdsa' | 'rsa-pkcs1';
  /** A hash for ECDSA, a DigestInfo for RSA. */
  readonly data: Uint8Array;
}

/** A token with an open session. Every function throws Pkcs11Error. */
export interface Pkcs11Token {
  /** Makes a key and then removes those that had the label before. */
  generate(label: string, type: KeyType): TokenKey;
  find(label: string): TokenKey | undefined;
  /** Labels that begin so and have both halves of a key. */
  list(labelPrefix: string): readonly string[];
  remove(label: string): void;
  /** Undefined when the key is not there any more. */
  sign(request: TokenSignRequest): Uint8Array | undefined;
}

/** The token will not let us in: trying again with the same PIN could lock it up. */
export class PinRefused extends Error {
  override readonly name = 'PinRefused';
}

/** Opens a session and logs in. Throws PinRefused, Pkcs11Error, or an Error that says which token is missing. */
export function openPkcs11Token(library: Pkcs11Library, selector: TokenSelector, pin: Uint8Array): Pkcs11Token {
  const slot = findSlot(library, selector);
  const session = library.openSession(slot);
  login(library, { slot, session }, pin);
  return createToken(library, session);
}

function findSlot(library: Pkcs11Library, { label, slot }: TokenSelector): Handle {
  const present = library.slots();
  if (slot !== undefined) {
    const found = present.find((handle) => handle === BigInt(slot));
    if (found === undefined) throw new Error(`slot ${slot} holds no token`);
    return found;
  }
  const [found, ...others] = present.filter((handle) => library.tokenInfo(handle).label === label);
  if (found === undefined) throw new Error(`there is no token with the label ${JSON.stringify(label)}`);
  if (others.length > 0) {
    throw new Error(`${others.length + 1} tokens have the label ${JSON.stringify(label)}: name it by its slot`);
  }
  return found;
}

function login(library: Pkcs11Library, { slot, session }: { slot: Handle; session: Handle }, pin: Uint8Array): void {
  const { label, flags } = library.tokenInfo(slot);
  const has = (flag: keyof typeof TOKEN_FLAGS): boolean => (flags & TOKEN_FLAGS[flag]) !== 0;
  if (!has('LOGIN_REQUIRED')) return;
  const token = `token ${JSON.stringify(label)}`;
  if (!has('USER_PIN_INITIALIZED')) throw new PinRefused(`${token} has no user PIN yet`);
  if (has('USER_PIN_LOCKED')) throw new PinRefused(`${token} is locked: too many wrong PINs`);
  if (has('USER_PIN_FINAL_TRY')) {
    throw new PinRefused(`${token} has one PIN try left, which is not used up: log in once with its own tool`);
  }
  try {
    library.login(session, pin);
  } catch (error) {
    if (!(error instanceof Pkcs11Error)) throw error;
    if (error.is('CKR_USER_ALREADY_LOGGED_IN')) return;
    if (error.is('CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LEN_RANGE', 'CKR_PIN_EXPIRED', 'CKR_PIN_LOCKED')) {
      throw new PinRefused(`${token} refuses the PIN: ${error.message}`);
    }
    throw error;
  }
}

/** The halves of a key, one of which is missing when a crash came between them. */
interface KeyHalves {
  readonly label: string;
  readonly tokenId: string;
  publicKey?: Handle;
  privateKey?: Handle;
}

function createToken(library: Pkcs11Library, session: Handle): Pkcs11Token {
  const privateKeys = new Map<string, Handle>();
  const scan = (label?: string): readonly KeyHalves[] => scanKeys(library, session, label);
  const destroy = (keys: readonly KeyHalves[]): void => {
    for (const { tokenId, publicKey, privateKey } of keys) {
      privateKeys.delete(tokenId);
      // The private half first: what a crash leaves then is not a key.
      for (const handle of [privateKey, publicKey]) if (handle !== undefined) library.destroy(session, handle);
    }
  };
  const describe = ({ tokenId, publicKey }: KeyHalves): TokenKey => {
    const read = (type: number): Uint8Array | undefined =>
      publicKey === undefined ? undefined : library.attribute(session, publicKey, type);
    return definedOnly({
      tokenId,
      ecPoint: read(CKA.EC_POINT),
      modulus: read(CKA.MODULUS),
      publicExponent: read(CKA.PUBLIC_EXPONENT),
    });
  };
  const find = (label: string): TokenKey | undefined => {
    const newest = newestWhole(scan(label));
    return newest === undefined ? undefined : describe(newest);
  };
  return {
    generate(label, type) {
      const before = scan(label);
      const tokenId = nextTokenId(before);
      library.generateKeyPair(session, GENERATORS[type].mechanism, templatesOf(label, tokenId, type));
      destroy(before);
      const made = find(label);
      if (made?.tokenId !== tokenId) throw new Error('the token does not hold the key that it made');
      return made;
    },
    find,
    list(labelPrefix) {
      const whole = scan().filter((key) => isWhole(key) && key.label.startsWith(labelPrefix));
      return [...new Set(whole.map(({ label }) => label))];
    },
    remove: (label) => destroy(scan(label)),
    sign({ label, tokenId, mechanism, data }) {
      const request = { mechanism: mechanism === 'ecdsa' ? CKM.ECDSA : CKM.RSA_PKCS, data };
      const known = privateKeys.get(tokenId);
      if (known !== undefined) {
        try {
          return library.sign(session, known, request);
        } catch (error) {
          const isGone =
            error instanceof Pkcs11Error && error.is('CKR_KEY_HANDLE_INVALID', 'CKR_OBJECT_HANDLE_INVALID');
          if (!isGone) throw error;
          privateKeys.delete(tokenId);
        }
      }
      const key = scan(label).find((halves) => halves.tokenId === tokenId)?.privateKey;
      if (key === undefined) return undefined;
      privateKeys.set(tokenId, key);
      return library.sign(session, key, request);
    },
  };
}

function scanKeys(library: Pkcs11Library, session: Handle, label?: string): readonly KeyHalves[] {
  const keys = new Map<string, KeyHalves>();
  for (const [half, value] of [
    ['publicKey', CKO.PUBLIC_KEY],
    ['privateKey', CKO.PRIVATE_KEY],
  ] as const) {
    const template: Attribute[] = [
      { type: CKA.CLASS, value },
      { type: CKA.TOKEN, value: true },
      ...(label === undefined ? [] : [{ type: CKA.LABEL, value: label }]),
    ];
    for (const handle of library.find(session, template)) {
      const text = Buffer.from(library.attribute(session, handle, CKA.LABEL) ?? []).toString('utf8');
      const tokenId = Buffer.from(library.attribute(session, handle, CKA.ID) ?? []).toString('hex');
      const name = `${tokenId} ${text}`;
      const halves = keys.get(name) ?? { label: text, tokenId };
      keys.set(name, { ...halves, [half]: handle });
    }
  }
  return [...keys.values()];
}

function isWhole({ publicKey, privateKey }: KeyHalves): boolean {
  return publicKey !== undefined && privateKey !== undefined;
}

/** CKA_ID: four bytes that count up, by which the newest of several is known after a crash, then twelve random ones. */
function nextTokenId(existing: readonly KeyHalves[]): string {
  const newest = Math.max(0, ...existing.map(generationOf));
  const id = randomBytes(16);
  id.writeUInt32BE(newest + 1);
  return id.toString('hex');
}

function generationOf({ tokenId }: KeyHalves): number {
  return tokenId.length === 32 ? Number.parseInt(tokenId.slice(0, 8), 16) : 0;
}

function newestWhole(keys: readonly KeyHalves[]): KeyHalves | undefined {
  return keys.filter(isWhole).sort((a, b) => generationOf(b) - generationOf(a))[0];
}

const RSA_EXPONENT = Buffer.from('010001', 'hex');

/** What the public half of each type is made from. */
const GENERATORS: Readonly<Record<KeyType, { readonly mechanism: number; readonly parameters: readonly Attribute[] }>> =
  {
    'ec-p256': ecGenerator('06082a8648ce3d030107'),
    'ec-p384': ecGenerator('06052b81040022'),
    'rsa-2048': rsaGenerator(2048),
    'rsa-4096': rsaGenerator(4096),
  };

/** With the curve's object identifier in DER. */
function ecGenerator(curve: string): { mechanism: number; parameters: Attribute[] } {
  const parameters = [{ type: CKA.EC_PARAMS, value: Buffer.from(curve, 'hex') }];
  return { mechanism: CKM.EC_KEY_PAIR_GEN, parameters };
}

function rsaGenerator(bits: number): { mechanism: number; parameters: Attribute[] } {
  const parameters = [
    { type: CKA.MODULUS_BITS, value: bits },
    { type: CKA.PUBLIC_EXPONENT, value: RSA_EXPONENT },
    { type: CKA.ENCRYPT, value: false },
    { type: CKA.WRAP, value: false },
  ];
  return { mechanism: CKM.RSA_PKCS_KEY_PAIR_GEN, parameters };
}

/** A key that only signs, and never leaves the token. */
function templatesOf(label: string, tokenId: string, type: KeyType): KeyPairTemplates {
  const common = [
    { type: CKA.TOKEN, value: true },
    { type: CKA.LABEL, value: label },
    { type: CKA.ID, value: Buffer.from(tokenId, 'hex') },
  ];
  const unused = type.startsWith('rsa-') ? [CKA.DECRYPT, CKA.UNWRAP] : [CKA.DERIVE];
  return {
    publicKey: [
      ...common,
      { type: CKA.PRIVATE, value: false },
      { type: CKA.VERIFY, value: true },
      ...GENERATORS[type].parameters,
    ],
    privateKey: [
      ...common,
      { type: CKA.PRIVATE, value: true },
      { type: CKA.SENSITIVE, value: true },
      { type: CKA.EXTRACTABLE, value: false },
      { type: CKA.SIGN, value: true },
      ...unused.map((type) => ({ type, value: false })),
    ],
  };
}

function definedOnly(key: { readonly [Name in keyof TokenKey]: TokenKey[Name] | undefined }): TokenKey {
  return Object.fromEntries(Object.entries(key).filter(([, value]) => value !== undefined)) as unknown as TokenKey;
}
