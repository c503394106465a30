import type { ListenAddress as ConfiguredAddress } from '../config/index.ts';
import type { ListenAddress } from '../transport/index.ts';

/** Any local process may connect; attestation decides what it gets. */
export const OPEN_SOCKET_MODE = 0o777;

export function openAddress(listen: ConfiguredAddress): ListenAddress {
  return listen.kind === 'unix' ? { ...listen, mode: OPEN_SOCKET_MODE } : listen;
}
