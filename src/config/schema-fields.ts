import { SvidgateError } from '../core/index.ts';
import { parseSpiffeIdPattern, type SpiffeIdPattern } from '../spiffe/index.ts';
import type { ListenAddress } from './config.ts';
import { durationField, textField, type Field, type ReportMistake } from './fields.ts';
import { parseListenAddress, parsePath, parseSocketPath } from './listen-address.ts';

const MAX_TTL = '87600h';

/** Milliseconds up to ten years. */
export function ttlField(text: string | undefined, description: string, min = '1s'): Field<number> {
  const info = { description, min, max: MAX_TTL };
  return durationField(text === undefined ? info : { ...info, default: text });
}

/** An absolute path; a relative one starts at the folder. Required unless there is a default text. */
export function pathField(folder: string, text: string | undefined, description: string): Field<string> {
  const info = { description, expected: 'a path, absolute or from the folder of this file' };
  return textField(text === undefined ? info : { ...info, default: text }, (path) => parsePath(path, folder));
}

export function requiredPathField(folder: string, description: string): Field<string> {
  return pathField(folder, undefined, description);
}

/** The absolute path of a Unix socket. */
export function socketField(folder: string, text: string | undefined, description: string): Field<string> {
  const info = { description, expected: 'the path of a Unix socket' };
  return textField(text === undefined ? info : { ...info, default: text }, (path) => parseSocketPath(path, folder));
}

/** A Unix socket or an address of any kind. Required unless there is a default text. */
export function listenField(folder: string, text: string | undefined, description: string): Field<ListenAddress> {
  const info = { description, expected: 'unix:PATH or HOST:PORT' };
  return textField(text === undefined ? info : { ...info, default: text }, (address) =>
    parseListenAddress(address, { folder, loopbackOnly: false }),
  );
}

/** One SPIFFE ID, or all beneath one. */
export function spiffeIdPatternField(description: string): Field<SpiffeIdPattern> {
  return textField({ description, expected: 'a SPIFFE ID, or an ID followed by /**' }, (text) => {
    try {
      return parseSpiffeIdPattern(text);
    } catch (error) {
      throw new SvidgateError('config_invalid', SvidgateError.from(error).message);
    }
  });
}

/** The name of an environment variable. */
export function environmentField(description: string): Field<string> {
  return textField({ description, expected: 'the name of an environment variable' }, (text) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(text)) {
      throw new SvidgateError('config_invalid', 'expected the name of an environment variable, such as SVIDGATE_KEY');
    }
    return text;
  });
}

/** Text of 1 to 255 characters. */
export function nameField(description: string, text?: string): Field<string> {
  const info = { description, expected: 'a text of 1 to 255 characters' };
  return textField(text === undefined ? info : { ...info, default: text }, (value) => {
    if (value.trim() === '' || value.length > 255) {
      throw new SvidgateError('config_invalid', 'expected a text of 1 to 255 characters');
    }
    return value;
  });
}

/** A check for sectionField: exactly one of the keys is there, right or wrong. `name` is the section, as written in the file. */
export function exactlyOne(
  name: string,
  keys: readonly string[],
): (value: Readonly<Record<string, unknown>>, report: ReportMistake, wrong: ReadonlySet<PropertyKey>) => void {
  return (value, report, wrong) => {
    const given = keys.filter((key) => value[key] !== undefined || wrong.has(key));
    if (given.length === 1) return;
    const words = keys.map((key) => `\`${key}\``).join(', ');
    const found = given.length === 0 ? 'has none of' : 'has more than one of';
    report([], `\`${name}\` ${found} ${words}`, 'give exactly one of them');
  };
}
