import { decodeMessage, MtlsAuthenticated, RbacFilter, SanType, TypedExtensionConfig } from '../proto/index.ts';
import { encodeRules } from './encode-rules.ts';
import type { OffloadSet } from './offload-rules.ts';

/** Values of JSON. */
export type ShownRules = { readonly [key: string]: unknown };

/** More than Envoy takes. */
const MAX_BYTES = 256 * 1024 * 1024;
const TYPES = { [MtlsAuthenticated.getTypeUrl()]: MtlsAuthenticated };
/** Fields whose values are wrapped numbers. */
const WRAPPED = ['prefix_len'];
const SAN_TYPES = new Map<number, string>(Object.entries(SanType).map(([name, number]) => [number, name]));

/** The RBAC filter of a set as it is sent, in the form of Envoy's own configuration; what cannot be told exactly is not in it. */
export function showRules(set: OffloadSet): ShownRules {
  const { typedConfig } = decodeMessage(TypedExtensionConfig, encodeRules(set).bytes, MAX_BYTES);
  const filter = decodeMessage(RbacFilter, typedConfig?.value ?? new Uint8Array(), MAX_BYTES);
  return { '@type': typedConfig?.type_url, ...(plain(filter) as ShownRules) };
}

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  // 64 bits.
  if ('unsigned' in value && 'low' in value) return Number(value);
  const { type_url: type, value: bytes } = value as { readonly type_url?: string; readonly value?: unknown };
  const codec = type === undefined ? undefined : TYPES[type];
  if (codec !== undefined && bytes instanceof Uint8Array) {
    return { '@type': type, ...(plain(decodeMessage(codec, bytes, MAX_BYTES)) as ShownRules) };
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => field(key, each)));
}

function field(name: string, value: unknown): readonly [string, unknown] {
  const key = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  // Names of rules are no names of fields.
  if (key === 'policies') {
    return [key, Object.fromEntries(Object.entries(value as ShownRules).map(([id, each]) => [id, plain(each)]))];
  }
  if (key === 'san_type') return [key, SAN_TYPES.get(value as number) ?? value];
  if (WRAPPED.includes(key)) return [key, (value as { readonly value?: number }).value ?? 0];
  return [key, plain(value)];
}
