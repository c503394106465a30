import type { KeyType } from '../key-manager.ts';
import type { TokenKey, TokenSelector, TokenSignRequest } from './pkcs11-token.ts';

/** What the process that holds the module is asked, one at a time. The first is `open`. */
export type Pkcs11Request =
  | { readonly call: 'open'; readonly module: string; readonly token: TokenSelector; readonly pin: Uint8Array }
  | { readonly call: 'generate'; readonly label: string; readonly type: KeyType }
  | { readonly call: 'find'; readonly label: string }
  | { readonly call: 'list'; readonly labelPrefix: string }
  | { readonly call: 'remove'; readonly label: string }
  | ({ readonly call: 'sign' } & TokenSignRequest);

/** What each call answers. */
export interface Pkcs11Answers {
  readonly open: undefined;
  readonly generate: TokenKey;
  readonly find: TokenKey | undefined;
  readonly list: readonly string[];
  readonly remove: undefined;
  readonly sign: Uint8Array | undefined;
}

/** `lost`: a new session may help. `pin_refused`: no other try with this PIN. */
export type Pkcs11Failure = 'lost' | 'pin_refused' | 'other';

export type Pkcs11Reply =
  | { readonly value: Pkcs11Answers[keyof Pkcs11Answers]; readonly failure?: never }
  | { readonly failure: Pkcs11Failure; readonly message: string };
