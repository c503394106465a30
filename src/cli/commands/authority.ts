import type { svidgate } from '../../proto/index.ts';
import { withAdmin } from '../admin-client.ts';
import { authorityJson, formatAuthorities } from '../authority-view.ts';
import type { ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { Kind } from '../groups/authority.ts';

const KINDS = { x509: 1, jwt: 2 } as const;
const METHODS = { activate: 'activateAuthority', taint: 'taintAuthority', revoke: 'revokeAuthority' } as const;

/** `authority show` */
export async function showAuthorities(options: ClientOptions): Promise<ExitCode> {
  return print(await withAdmin(options, (admin) => admin.call('listAuthorities', {})), options);
}

/** `authority prepare`: prints all keys as they are then. */
export async function prepareAuthority(kind: Kind, options: ClientOptions): Promise<ExitCode> {
  return print(await withAdmin(options, (admin) => admin.call('prepareAuthority', { kind: KINDS[kind] })), options);
}

/** `authority activate`, `taint` and `revoke`: prints all keys as they are then. */
export async function changeAuthority(
  options: ClientOptions & {
    readonly change: keyof typeof METHODS;
    readonly kind: Kind;
    readonly authorityId: string;
  },
): Promise<ExitCode> {
  const request = { kind: KINDS[options.kind], authorityId: options.authorityId };
  return print(await withAdmin(options, (admin) => admin.call(METHODS[options.change], request)), options);
}

function print(
  { authorities }: svidgate.admin.v1.ListAuthoritiesResponse,
  { output, terminal }: ClientOptions,
): ExitCode {
  if (output === 'json') terminal.out(`${JSON.stringify({ authorities: authorities.map(authorityJson) })}\n`);
  else terminal.out(formatAuthorities(authorities, Date.now()));
  return EXIT.done;
}
