import { SvidgateError, type ErrorCode } from '../core/index.ts';
import type { VaultAnswer, VaultMethod } from './vault-connection.ts';
import { LoginRefusal } from './vault-login.ts';

/** How one try went. */
export type Outcome = { readonly answer: VaultAnswer; readonly error?: never } | { readonly error: unknown };

/** What was tried, for the words of a fault. */
export interface Attempted {
  readonly address: string;
  readonly method: VaultMethod;
  readonly path: string;
  /** How to log in: a kind of VaultAuth. */
  readonly authKind: string;
  readonly failsAs: ErrorCode;
  readonly timeoutMs: number;
  readonly timedOut: boolean;
}

const MAX_TEXT = 300;

/** Whether the same again may go well: no answer, a fault of the server, or too much to do. Refusals stay refusals. */
export function mayPass(outcome: Outcome): boolean {
  const answer = answerOf(outcome);
  if (answer !== undefined) return isServerFault(answer);
  return !(outcome.error instanceof SvidgateError);
}

/** Whether the server itself says that it cannot serve: what it says of its health then tells why. */
export function isServerFault({ status }: VaultAnswer): boolean {
  return status >= 500 || status === 429;
}

/** The answer that decided, of the request or of the login before it. */
export function answerOf(outcome: Outcome): VaultAnswer | undefined {
  if (!('error' in outcome)) return outcome.answer;
  return outcome.error instanceof LoginRefusal ? outcome.error.answer : undefined;
}

/** The error of a request that came to nothing. What the server says goes into the cause, so that only the log shows it. */
export function faultOf(outcome: Outcome, attempted: Attempted, health: VaultAnswer | undefined): SvidgateError {
  const server = `Vault at ${attempted.address}`;
  const fail = (message: string, cause?: unknown): SvidgateError =>
    new SvidgateError(attempted.failsAs, `${server} ${message}`, { cause });
  const answer = answerOf(outcome);
  if (answer === undefined) {
    if (attempted.timedOut) return fail(`gave no answer within ${attempted.timeoutMs / 1000} s`);
    const { error } = outcome as { readonly error: unknown };
    if (error instanceof SvidgateError && error.code === 'too_large') return fail(error.message);
    if (error instanceof SvidgateError) return fail(`was not asked: ${error.message}`, error.cause);
    const cause = causeOf(error);
    return fail(`cannot be reached${cause.code === '' ? '' : ` (${cause.code})`}`, cause.error);
  }
  const what = 'error' in outcome ? `the login by ${attempted.authKind}` : `${attempted.method} ${attempted.path}`;
  const said = textOf(answer);
  const cause = said === '' ? undefined : new Error(said);
  if (isServerFault(answer)) return fail(stateOf(health) ?? `fails with ${answer.status}`, cause);
  if (answer.status >= 300 && answer.status < 400) {
    return fail('sends us to another node: give the address of the active one, or of what stands before all', cause);
  }
  if (answer.status < 300) return fail(`answers ${what} with what Vault never says`, cause);
  const hint = answer.status === 403 && !('error' in outcome) ? ': check the token and its policies' : '';
  return fail(`refuses ${what} with ${answer.status}${hint}`, cause);
}

/** By the status codes of sys/health. */
function stateOf(health: VaultAnswer | undefined): string | undefined {
  switch (health?.status) {
    case 429:
    case 473:
      return 'is a standby that cannot pass requests on to the active node';
    case 472:
      return 'is a disaster recovery replica, which serves nobody';
    case 501:
      return 'is not initialised';
    case 503:
      return 'is sealed';
    case undefined:
    default:
      return undefined;
  }
}

/** Its `errors` in one line. Whatever could be a token or a secret id, a long run of letters and digits, is left out. */
function textOf({ body }: VaultAnswer): string {
  const errors: unknown = body?.['errors'];
  if (!Array.isArray(errors)) return '';
  const text = errors
    .filter((error) => typeof error === 'string')
    .join('; ')
    .replaceAll(/[A-Za-z0-9_-]{24,}/g, '…')
    .replaceAll(/[^\x20-\x7e…]+/g, ' ')
    .trim();
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`;
}

/** Node's errors of connections name the address and the system's code, or the rule of TLS that was broken. */
function causeOf(error: unknown): { readonly code: string; readonly error: unknown } {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  return { code, error };
}
