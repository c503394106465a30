import koffi, { type LibraryHandle } from 'koffi';
import { FUNCTIONS, nameOfReturnValue, RETURN_VALUES, type ReturnValueName } from './pkcs11-codes.ts';

/** CK_ULONG values that we only hand back: slots, sessions, objects. */
export type Handle = bigint;

/** One CK_ATTRIBUTE of a template: a CK_BBOOL, a CK_ULONG, UTF-8 text or bytes. */
export interface Attribute {
  readonly type: number;
  readonly value: boolean | number | string | Uint8Array;
}

export interface TokenInfo {
  /** Without the blanks that fill it up. */
  readonly label: string;
  /** See TOKEN_FLAGS. */
  readonly flags: number;
}

/** A function that did not return CKR_OK. */
export class Pkcs11Error extends Error {
  override readonly name = 'Pkcs11Error';
  readonly returnValue: number;

  constructor(functionName: string, returnValue: number) {
    super(`${functionName} gave ${nameOfReturnValue(returnValue)}`);
    this.returnValue = returnValue;
  }

  is(...names: readonly ReturnValueName[]): boolean {
    return names.some((name) => RETURN_VALUES[name] === this.returnValue);
  }
}

/** A module of a token's vendor. Every function blocks until the token has answered, and throws Pkcs11Error. */
export interface Pkcs11Library {
  /** Slots in which a token is present. */
  slots(): readonly Handle[];
  tokenInfo(slot: Handle): TokenInfo;
  /** A session that may write. */
  openSession(slot: Handle): Handle;
  closeSession(session: Handle): void;
  /** As the normal user. The PIN is overwritten. */
  login(session: Handle, pin: Uint8Array): void;
  find(session: Handle, template: readonly Attribute[]): readonly Handle[];
  /** Undefined when the object has no such attribute, or keeps it to itself. */
  attribute(session: Handle, object: Handle, type: number): Uint8Array | undefined;
  destroy(session: Handle, object: Handle): void;
  generateKeyPair(session: Handle, mechanism: number, templates: KeyPairTemplates): void;
  sign(session: Handle, key: Handle, request: { readonly mechanism: number; readonly data: Uint8Array }): Uint8Array;
  /** Ends all sessions. The library cannot be used any more. */
  finalize(): void;
}

export interface KeyPairTemplates {
  readonly publicKey: readonly Attribute[];
  readonly privateKey: readonly Attribute[];
}

/** Of CK_ULONG and of pointers on the platforms we run on. */
const WORD = 8;
/** CK_ATTRIBUTE and CK_MECHANISM: three words. */
const RECORD = 3 * WORD;
/** CK_VERSION, padded, stands before the pointers of CK_FUNCTION_LIST. */
const FIRST_FUNCTION = WORD;
const TOKEN_INFO_BYTES = 208;
const TOKEN_LABEL_BYTES = 32;
const TOKEN_FLAGS_AT = 96;
const CKF_OS_LOCKING_OK = 2n;
const CKF_RW_AND_SERIAL_SESSION = 2 | 4;
const CKU_USER = 1;
const CK_UNAVAILABLE_INFORMATION = 2n ** 64n - 1n;
const MAX_ATTRIBUTE_BYTES = 64 * 1024;
const MAX_SIGNATURE_BYTES = 1024;
const FIND_AT_ONCE = 64;

/** The arguments of each function; `void *` for whatever is passed by address. */
const SIGNATURES: Readonly<Record<keyof typeof FUNCTIONS, string>> = {
  C_Initialize: 'void *args',
  C_Finalize: 'void *reserved',
  C_GetSlotList: 'uint8_t present, void *slots, void *count',
  C_GetTokenInfo: 'unsigned long slot, void *info',
  C_OpenSession: 'unsigned long slot, unsigned long flags, void *app, void *notify, void *session',
  C_CloseSession: 'unsigned long session',
  C_Login: 'unsigned long session, unsigned long user, void *pin, unsigned long length',
  C_DestroyObject: 'unsigned long session, unsigned long object',
  C_GetAttributeValue: 'unsigned long session, unsigned long object, void *template, unsigned long count',
  C_FindObjectsInit: 'unsigned long session, void *template, unsigned long count',
  C_FindObjects: 'unsigned long session, void *objects, unsigned long max, void *count',
  C_FindObjectsFinal: 'unsigned long session',
  C_SignInit: 'unsigned long session, void *mechanism, unsigned long key',
  C_Sign: 'unsigned long session, void *data, unsigned long length, void *signature, void *signature_length',
  C_GenerateKeyPair:
    'unsigned long session, void *mechanism, void *public, unsigned long public_count, ' +
    'void *private, unsigned long private_count, void *public_key, void *private_key',
};

type Call = (name: keyof typeof FUNCTIONS, ...args: readonly (bigint | number | Uint8Array | null)[]) => void;

/**
 * Loads the module and initialises it, for use by one thread. Throws an Error when the file is no PKCS #11 module for this
 * machine.
 */
export function loadPkcs11(path: string): Pkcs11Library {
  if (koffi.sizeof('unsigned long') !== WORD) throw new Error('PKCS #11 needs a 64-bit system');
  const call = bindFunctions(loadLibrary(path));
  // CK_C_INITIALIZE_ARGS: no locks of ours; the library may make its own, for threads that it starts itself.
  const args = memory(6 * WORD);
  args.writeBigUInt64LE(CKF_OS_LOCKING_OK, 4 * WORD);
  call('C_Initialize', args);
  return {
    ...tokenFunctions(call),
    ...objectFunctions(call),
    ...keyFunctions(call),
    finalize: () => call('C_Finalize', null),
  };
}

function loadLibrary(path: string): LibraryHandle {
  try {
    return koffi.load(path);
  } catch (error) {
    throw new Error(`${path} cannot be loaded`, { cause: error });
  }
}

/** All functions come from C_GetFunctionList: the only one that every module exports. */
function bindFunctions(library: LibraryHandle): Call {
  const pointer = memory(WORD);
  const returned = Number(library.func('unsigned long C_GetFunctionList(void *list)')(pointer));
  if (returned !== 0) throw new Pkcs11Error('C_GetFunctionList', returned);
  const list = pointer.readBigUInt64LE();
  if (list === 0n) throw new Error('C_GetFunctionList gave no functions');
  const functions = new Map(
    Object.entries(FUNCTIONS).map(([name, index]) => {
      const address = koffi.decode(list, FIRST_FUNCTION + index * WORD, 'void *') as bigint | null;
      if (address === null || address === 0n) throw new Error(`the module has no ${name}`);
      const signature = SIGNATURES[name as keyof typeof FUNCTIONS];
      const bound = koffi.decode(address, koffi.proto(`unsigned long (${signature})`)) as (
        ...args: unknown[]
      ) => unknown;
      return [name, bound] as const;
    }),
  );
  return (name, ...args) => {
    const returned = Number(functions.get(name)?.(...args));
    if (returned !== 0) throw new Pkcs11Error(name, returned);
  };
}

function tokenFunctions(
  call: Call,
): Pick<Pkcs11Library, 'slots' | 'tokenInfo' | 'openSession' | 'closeSession' | 'login'> {
  return {
    slots() {
      const count = memory(WORD);
      call('C_GetSlotList', 1, null, count);
      if (count.readBigUInt64LE() === 0n) return [];
      const slots = memory(Number(count.readBigUInt64LE()) * WORD);
      call('C_GetSlotList', 1, slots, count);
      return words(slots, Number(count.readBigUInt64LE()));
    },
    tokenInfo(slot) {
      const info = memory(TOKEN_INFO_BYTES);
      call('C_GetTokenInfo', slot, info);
      return {
        label: info.toString('utf8', 0, TOKEN_LABEL_BYTES).replace(/[ \0]+$/, ''),
        flags: Number(info.readBigUInt64LE(TOKEN_FLAGS_AT)),
      };
    },
    openSession(slot) {
      const session = memory(WORD);
      call('C_OpenSession', slot, CKF_RW_AND_SERIAL_SESSION, null, null, session);
      return session.readBigUInt64LE();
    },
    closeSession: (session) => call('C_CloseSession', session),
    login(session, pin) {
      const bytes = memory(pin.length);
      bytes.set(pin);
      pin.fill(0);
      try {
        call('C_Login', session, CKU_USER, bytes, bytes.length);
      } finally {
        bytes.fill(0);
      }
    },
  };
}

function objectFunctions(call: Call): Pick<Pkcs11Library, 'find' | 'attribute' | 'destroy'> {
  return {
    find(session, template) {
      const found: Handle[] = [];
      call('C_FindObjectsInit', session, encodeTemplate(template), template.length);
      try {
        for (;;) {
          const [objects, count] = [memory(FIND_AT_ONCE * WORD), memory(WORD)];
          call('C_FindObjects', session, objects, FIND_AT_ONCE, count);
          if (count.readBigUInt64LE() === 0n) return found;
          found.push(...words(objects, Number(count.readBigUInt64LE())));
        }
      } finally {
        call('C_FindObjectsFinal', session);
      }
    },
    attribute(session, object, type) {
      try {
        const asked = memory(RECORD);
        asked.writeBigUInt64LE(BigInt(type));
        call('C_GetAttributeValue', session, object, asked, 1); // the length first
        const length = asked.readBigUInt64LE(2 * WORD);
        if (length === CK_UNAVAILABLE_INFORMATION || length > MAX_ATTRIBUTE_BYTES) return undefined;
        const value = memory(Math.max(1, Number(length)));
        asked.writeBigUInt64LE(koffi.address(value), WORD);
        call('C_GetAttributeValue', session, object, asked, 1);
        return value.subarray(0, Number(asked.readBigUInt64LE(2 * WORD)));
      } catch (error) {
        if (error instanceof Pkcs11Error && error.is('CKR_ATTRIBUTE_TYPE_INVALID', 'CKR_ATTRIBUTE_SENSITIVE')) {
          return undefined;
        }
        throw error;
      }
    },
    destroy: (session, object) => call('C_DestroyObject', session, object),
  };
}

function keyFunctions(call: Call): Pick<Pkcs11Library, 'generateKeyPair' | 'sign'> {
  return {
    generateKeyPair(session, mechanism, { publicKey, privateKey }) {
      const [publicHandle, privateHandle] = [memory(WORD), memory(WORD)];
      const args = [
        encodeTemplate(publicKey),
        publicKey.length,
        encodeTemplate(privateKey),
        privateKey.length,
        publicHandle,
        privateHandle,
      ];
      call('C_GenerateKeyPair', session, encodeMechanism(mechanism), ...args);
    },
    sign(session, key, { mechanism, data }) {
      const [input, signature, length] = [memory(data.length), memory(MAX_SIGNATURE_BYTES), memory(WORD)];
      input.set(data);
      length.writeBigUInt64LE(BigInt(MAX_SIGNATURE_BYTES));
      call('C_SignInit', session, encodeMechanism(mechanism), key);
      call('C_Sign', session, input, input.length, signature, length);
      return signature.subarray(0, Number(length.readBigUInt64LE()));
    },
  };
}

/** CK_MECHANISM without a parameter. */
function encodeMechanism(mechanism: number): Buffer {
  const record = memory(RECORD);
  record.writeBigUInt64LE(BigInt(mechanism));
  return record;
}

/** CK_ATTRIBUTE records and, behind them in one piece, the values that they point to. */
function encodeTemplate(attributes: readonly Attribute[]): Buffer {
  const values = attributes.map(({ value }) => encodeValue(value));
  const template = memory(values.reduce((size, value) => size + value.length, attributes.length * RECORD));
  let at = attributes.length * RECORD;
  for (const [index, { type }] of attributes.entries()) {
    const value = values[index] ?? Buffer.alloc(0);
    template.writeBigUInt64LE(BigInt(type), index * RECORD);
    template.writeBigUInt64LE(koffi.address(template) + BigInt(at), index * RECORD + WORD);
    template.writeBigUInt64LE(BigInt(value.length), index * RECORD + 2 * WORD);
    template.set(value, at);
    at += value.length;
  }
  return template;
}

function encodeValue(value: Attribute['value']): Uint8Array {
  if (typeof value === 'boolean') return Buffer.of(value ? 1 : 0);
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (typeof value !== 'number') return value;
  const word = Buffer.alloc(WORD);
  word.writeBigUInt64LE(BigInt(value));
  return word;
}

/** Zeroed, and outside of the heap: its address does not change while it lives. */
function memory(size: number): Buffer {
  return Buffer.from(new ArrayBuffer(size));
}

function words(buffer: Buffer, count: number): readonly Handle[] {
  return Array.from({ length: count }, (_, index) => buffer.readBigUInt64LE(index * WORD));
}
