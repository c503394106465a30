import { isIPv4, isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import { SvidgateError } from '../core/index.ts';
import type { ListenAddress } from './config.ts';

/** What the kernel takes in sockaddr_un, less the closing zero byte (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107;

export interface ListenAddressRules {
  /** Relative Unix socket paths start here. */
  readonly folder: string;
  /** Refuses hosts that others can reach. */
  readonly loopbackOnly: boolean;
}

/** From `unix:PATH`, `HOST:PORT` or `[IPV6]:PORT`; `localhost` becomes 127.0.0.1. Throws `config_invalid`. */
export function parseListenAddress(text: string, rules: ListenAddressRules): ListenAddress {
  if (text.startsWith('unix:')) {
    return { kind: 'unix', path: parseSocketPath(text.slice('unix:'.length), rules.folder) };
  }
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new SvidgateError('config_invalid', 'expected HOST:PORT with a port up to 65535, or unix:PATH');
  }
  const named = match[1] ?? match[2] ?? '';
  const host = named === 'localhost' ? '127.0.0.1' : named;
  const isIp = match[1] === undefined ? isIPv4(host) : isIPv6(host);
  if (rules.loopbackOnly && !isLoopback(host)) {
    throw new SvidgateError(
      'config_invalid',
      'a Unix socket (unix:PATH) or a loopback address (127.0.0.1:PORT, [::1]:PORT) is required',
    );
  }
  if (!isIp && (match[1] !== undefined || !/^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(host))) {
    throw new SvidgateError('config_invalid', 'expected an IP address or a host name before the port');
  }
  return { kind: 'tcp', host, port };
}

/** Whether only this machine can reach the host. A name may lead anywhere. */
export function isLoopback(host: string): boolean {
  return (isIPv4(host) && host.startsWith('127.')) || host === '::1';
}

/** An absolute socket path that the kernel can bind. Throws `config_invalid`. */
export function parseSocketPath(text: string, folder: string): string {
  const path = parsePath(text, folder);
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new SvidgateError(
      'config_invalid',
      `a socket path has at most ${MAX_SOCKET_PATH_BYTES} bytes; ${path} has ${bytes}`,
    );
  }
  return path;
}

/** An absolute path. Throws `config_invalid` for an empty one and for one with a zero byte. */
export function parsePath(text: string, folder: string): string {
  if (text === '' || text.includes('\0')) {
    throw new SvidgateError('config_invalid', 'expected a path, absolute or from the folder of this file');
  }
  return resolve(folder, text);
}

/** `unix:PATH`, `127.0.0.1:9191` or `[::1]:9191`. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  return isIPv6(address.host) ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
