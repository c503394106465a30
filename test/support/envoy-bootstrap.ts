import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'yaml';

/** Any value of a YAML or JSON file. */
export type YamlValue = string | number | boolean | null | readonly YamlValue[] | { readonly [key: string]: YamlValue };
export type YamlMap = { readonly [key: string]: YamlValue };

/** Where a copy of a configuration listens and connects. */
export interface Relocation {
  /** In the place of 127.0.0.1. */
  readonly address: string;
  /** By documented port. A port that is not listed is an error. */
  readonly ports: ReadonlyMap<number, number>;
  /** What relative paths of Unix sockets start from. */
  readonly dir: string;
  /** In the place of every `max_connection_duration`, such as `8s`. Unchanged when absent. */
  readonly maxConnectionDuration?: string;
}

/** Reads a YAML file whose top is a map. */
export function readYaml(path: string): YamlMap {
  return parse(readFileSync(path, 'utf8')) as YamlMap;
}

/** The ports on 127.0.0.1 that a bootstrap names, each once. */
export function documentedPorts(bootstrap: YamlValue): readonly number[] {
  const ports = new Set<number>();
  visit(bootstrap, (map) => {
    if (map['address'] === '127.0.0.1' && typeof map['port_value'] === 'number') ports.add(map['port_value']);
  });
  return [...ports];
}

/** The same bootstrap for other addresses. The original is left alone. */
export function relocate(bootstrap: YamlMap, to: Relocation): YamlMap {
  return relocateValue(bootstrap, to) as YamlMap;
}

function relocateValue(value: YamlValue, to: Relocation): YamlValue {
  if (isList(value)) return value.map((item) => relocateValue(item, to));
  if (!isMap(value)) return value;
  if (value['address'] === '127.0.0.1' && typeof value['port_value'] === 'number') {
    return { ...value, address: to.address, port_value: relocatedPort(value['port_value'], to) };
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      if (key === 'pipe' && isMap(item)) return [key, relocatePipe(item, to)];
      if (key === 'max_connection_duration') return [key, to.maxConnectionDuration ?? item];
      return [key, relocateValue(item, to)];
    }),
  );
}

function relocatePipe(pipe: YamlMap, to: Relocation): YamlMap {
  const { path } = pipe;
  return typeof path === 'string' ? { ...pipe, path: resolve(to.dir, path) } : pipe;
}

/** What a documented port became. Throws for one that was not relocated. */
export function relocatedPort(port: number, to: Relocation): number {
  const relocated = to.ports.get(port);
  if (relocated === undefined) throw new Error(`port ${port} has no relocation`);
  return relocated;
}

function visit(value: YamlValue, onMap: (map: YamlMap) => void): void {
  if (isList(value)) value.forEach((item) => visit(item, onMap));
  if (!isMap(value)) return;
  onMap(value);
  Object.values(value).forEach((item) => visit(item, onMap));
}

function isList(value: YamlValue): value is readonly YamlValue[] {
  return Array.isArray(value);
}

function isMap(value: YamlValue | undefined): value is YamlMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
