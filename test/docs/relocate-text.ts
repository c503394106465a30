import { freeLoopbackAddress, freePorts } from '../support/envoy-address.ts';

/** Moves texts of a page to an address and ports of their own: configurations and commands alike. */
export interface TextRelocation {
  readonly address: string;
  port(documented: number): number;
  apply(text: string): string;
}

/** For texts that name these ports on 127.0.0.1. */
export async function relocateText(documented: readonly number[]): Promise<TextRelocation> {
  const address = await freeLoopbackAddress();
  const free = await freePorts(address, documented.length);
  const ports = new Map(documented.map((port, index) => [port, free[index] ?? 0]));
  const pattern = new RegExp(`\\b(?:${documented.join('|')})\\b`, 'g');
  return {
    address,
    port: (port) => ports.get(port) ?? 0,
    apply: (text) =>
      text.replaceAll('127.0.0.1', address).replaceAll(pattern, (port) => String(ports.get(Number(port)))),
  };
}

/** The ports on 127.0.0.1 that a text names, in YAML or as an address. */
export function portsOf(text: string): readonly number[] {
  const found = text.matchAll(/127\.0\.0\.1(?::|, port_value: )(\d+)|http\.server (\d+)/g);
  return [...new Set([...found].map(([, port, served]) => Number(port ?? served)))];
}
