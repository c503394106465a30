import { SvidgateError } from '../core/index.ts';
import type { Struct, StructInit, Value, ValueInit } from './messages.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** Envoy stops reading at 100 levels of messages, and a JSON object is three of them: more would void the whole reply. */
export const MAX_STRUCT_DEPTH = 30;

/** A Struct as JSON. Numbers are doubles; what JSON cannot say (NaN, the infinities, a Value of no kind) becomes null. */
export function structToJson(struct: Struct): JsonObject {
  return mapValues(struct.fields, valueToJson);
}

function valueToJson(value: Value): JsonValue {
  switch (value.kind) {
    case 'boolValue':
      return value.boolValue;
    case 'numberValue':
      return Number.isFinite(value.numberValue) ? value.numberValue : null;
    case 'stringValue':
      return value.stringValue;
    case 'structValue':
      return value.structValue === null ? null : structToJson(value.structValue);
    case 'listValue':
      return value.listValue === null ? null : value.listValue.values.map(valueToJson);
    case 'nullValue':
    case undefined:
      return null;
  }
}

/** JSON as a Struct. `too_large` when nested deeper than MAX_STRUCT_DEPTH. */
export function jsonToStruct(json: JsonObject): StructInit {
  return objectToStruct(json, 1);
}

function objectToStruct(json: JsonObject, depth: number): StructInit {
  return { fields: mapValues(json, (value) => jsonToValue(value, depth)) };
}

function jsonToValue(json: JsonValue, depth: number): ValueInit {
  if (depth > MAX_STRUCT_DEPTH) {
    throw new SvidgateError('too_large', `JSON nested deeper than ${MAX_STRUCT_DEPTH} levels`);
  }
  if (json === null) return { nullValue: 0 };
  if (typeof json === 'boolean') return { boolValue: json };
  if (typeof json === 'number') return { numberValue: json };
  if (typeof json === 'string') return { stringValue: json };
  if (isArray(json)) return { listValue: { values: json.map((value) => jsonToValue(value, depth + 1)) } };
  return { structValue: objectToStruct(json, depth + 1) };
}

/** Array.isArray does not narrow readonly arrays away. */
function isArray(json: readonly JsonValue[] | JsonObject): json is readonly JsonValue[] {
  return Array.isArray(json);
}

function mapValues<T, U>(object: { readonly [key: string]: T }, map: (value: T) => U): { readonly [key: string]: U } {
  // fromEntries defines properties, so that the key __proto__ is one like any other.
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}
