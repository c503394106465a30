/**
 * Process that holds the PKCS #11 module. Its calls block, and a module is native code of a vendor: here it can be slow,
 * hang or crash without anything else being touched. Ends when its parent does.
 */
import { describeError } from '../../core/index.ts';
import type { Pkcs11Failure, Pkcs11Reply, Pkcs11Request } from './pkcs11-messages.ts';
import { loadPkcs11, Pkcs11Error, type Pkcs11Library } from './pkcs11-library.ts';
import { openPkcs11Token, PinRefused, type Pkcs11Token } from './pkcs11-token.ts';

let library: Pkcs11Library | undefined;
let token: Pkcs11Token | undefined;

function perform(request: Pkcs11Request): Pkcs11Reply {
  if (request.call === 'open') {
    library = loadPkcs11(request.module);
    token = openPkcs11Token(library, request.token, request.pin);
    return { value: undefined };
  }
  if (token === undefined) throw new Error('no token is open');
  switch (request.call) {
    case 'generate':
      return { value: token.generate(request.label, request.type) };
    case 'find':
      return { value: token.find(request.label) };
    case 'list':
      return { value: token.list(request.labelPrefix) };
    case 'remove':
      token.remove(request.label);
      return { value: undefined };
    case 'sign':
      return { value: token.sign(request) };
    default:
      throw new Error('unknown call');
  }
}

function failureOf(error: unknown): Pkcs11Failure {
  if (error instanceof PinRefused) return 'pin_refused';
  return error instanceof Pkcs11Error && error.is(...LOST) ? 'lost' : 'other';
}

/** Return values after which a new session may work: ended, device away for a while, or a connection of the module's. */
const LOST = [
  'CKR_CRYPTOKI_NOT_INITIALIZED',
  'CKR_DEVICE_ERROR',
  'CKR_DEVICE_REMOVED',
  'CKR_FUNCTION_FAILED',
  'CKR_GENERAL_ERROR',
  'CKR_OPERATION_ACTIVE',
  'CKR_SESSION_CLOSED',
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SLOT_ID_INVALID',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_TOKEN_NOT_RECOGNIZED',
  'CKR_USER_NOT_LOGGED_IN',
] as const;

process.on('message', (request) => {
  let reply: Pkcs11Reply;
  try {
    reply = perform(request as Pkcs11Request);
  } catch (error) {
    reply = { failure: failureOf(error), message: describeError(error) };
  }
  process.send?.(reply);
});

process.on('disconnect', () => {
  try {
    library?.finalize();
  } finally {
    process.exit();
  }
});

// A terminal and systemd signal the whole group; what is asked of us on the way down is still answered.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
