import { SvidgateError } from '../core/index.ts';
import type { DynamicMessage, FieldValue, MessageReader } from './dynamic-message.ts';

const WRAPPERS: Readonly<Record<string, string>> = {
  DoubleValue: '0',
  FloatValue: '0',
  Int64Value: '"0"',
  UInt64Value: '"0"',
  Int32Value: '0',
  UInt32Value: '0',
  BoolValue: 'false',
  StringValue: '""',
  BytesValue: '""',
};
const PREFIX = 'google.protobuf.';
const NANOS = 1_000_000_000;
const MIN_TIMESTAMP = -62_135_596_800;
const MAX_TIMESTAMP = 253_402_300_799;
const MAX_DURATION = 315_576_000_000;

/** The own JSON form of a google.protobuf type; undefined for any other message. */
export function wellKnownJson(message: DynamicMessage, reader: MessageReader, depth: number): string | undefined {
  const { name } = message.type;
  if (!name.startsWith(PREFIX)) return undefined;
  const short = name.slice(PREFIX.length);
  const zero = Object.hasOwn(WRAPPERS, short) ? WRAPPERS[short] : undefined;
  if (zero !== undefined) return textOf(message, 1) ?? zero;
  switch (short) {
    case 'Timestamp':
      return timestampJson(message);
    case 'Duration':
      return durationJson(message);
    case 'FieldMask':
      return fieldMaskJson(message);
    case 'Any':
      return anyJson(message, reader, depth);
    case 'Struct':
      return structJson(message.values.get(1));
    case 'ListValue':
      return listJson(message.values.get(1));
    case 'Value':
      return valueJson(message, reader, depth);
    default:
      return undefined;
  }
}

function timestampJson(message: DynamicMessage): string {
  const { seconds, nanos } = timeOf(message);
  if (seconds < MIN_TIMESTAMP || seconds > MAX_TIMESTAMP || nanos < 0 || nanos >= NANOS) throw invalid('a Timestamp');
  return `"${new Date(seconds * 1000).toISOString().slice(0, 19)}${fraction(nanos)}Z"`;
}

function durationJson(message: DynamicMessage): string {
  const { seconds, nanos } = timeOf(message);
  const isOutside = Math.abs(seconds) > MAX_DURATION || Math.abs(nanos) >= NANOS;
  if (isOutside || (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0)) throw invalid('a Duration');
  const sign = seconds < 0 || nanos < 0 ? '-' : '';
  return `"${sign}${Math.abs(seconds)}${fraction(Math.abs(nanos))}s"`;
}

function timeOf(message: DynamicMessage): { readonly seconds: number; readonly nanos: number } {
  const seconds: unknown = JSON.parse(textOf(message, 1) ?? '"0"');
  return { seconds: Number(seconds), nanos: Number(textOf(message, 2) ?? '0') };
}

/** Three, six or nine digits. */
function fraction(nanos: number): string {
  if (nanos === 0) return '';
  const digits = String(nanos).padStart(9, '0').replace(/000$/, '').replace(/000$/, '');
  return `.${digits}`;
}

function fieldMaskJson(message: DynamicMessage): string {
  const value = message.values.get(1);
  const paths = value?.kind === 'list' ? value.elements.map((json) => JSON.parse(json) as string) : [];
  const names = paths.map((path) => {
    const name = path.replaceAll(/_+([a-z]?)/g, (_match, letter: string) => letter.toUpperCase());
    if (
      !/^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/.test(path) ||
      name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) !== path
    )
      throw invalid('a FieldMask');
    return name;
  });
  return JSON.stringify(names.join(','));
}

/** With its type beside its fields, or beside `value` for a type with a form of its own. */
function anyJson(message: DynamicMessage, reader: MessageReader, depth: number): string {
  const url = textOf(message, 1);
  const base64 = textOf(message, 2) ?? '""';
  if (url === undefined) {
    if (base64 === '""') return '{}';
    throw invalid('an Any');
  }
  const name = (JSON.parse(url) as string).replace(/^.*\//s, '');
  const json = reader.json(name, Buffer.from(JSON.parse(base64) as string, 'base64'), depth + 1);
  const hasOwnForm = name.startsWith(PREFIX) && (OWN_FORMS.has(name.slice(PREFIX.length)) || name.endsWith('.Empty'));
  if (hasOwnForm) return `{"@type":${url},"value":${json}}`;
  return `{"@type":${url}${json === '{}' ? '' : ','}${json.slice(1)}`;
}

const OWN_FORMS = new Set([
  ...Object.keys(WRAPPERS),
  'Timestamp',
  'Duration',
  'FieldMask',
  'Any',
  'Struct',
  'ListValue',
  'Value',
]);

function structJson(value: FieldValue | undefined): string {
  if (value?.kind !== 'map') return '{}';
  return `{${[...value.entries].map(([key, json]) => `${key}:${json}`).join(',')}}`;
}

function listJson(value: FieldValue | undefined): string {
  return value?.kind === 'list' ? `[${value.elements.join(',')}]` : '[]';
}

function valueJson(message: DynamicMessage, reader: MessageReader, depth: number): string {
  const [value] = message.values.values();
  if (value?.kind === 'message') return reader.render(value.message, depth + 1);
  // Numbers that JSON does not have came as texts.
  if (value?.kind !== 'scalar' || (message.values.has(2) && value.value.json.startsWith('"'))) throw invalid('a Value');
  return value.value.json;
}

/** The JSON text of a scalar that is there. */
function textOf(message: DynamicMessage, number: number): string | undefined {
  const value = message.values.get(number);
  return value?.kind === 'scalar' ? value.value.json : undefined;
}

function invalid(what: string): SvidgateError {
  return new SvidgateError('invalid_request', `the gRPC message: ${what} that JSON cannot say`);
}
