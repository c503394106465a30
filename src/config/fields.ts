import { z } from 'zod';
import { SvidgateError } from '../core/index.ts';
import { formatDuration, parseDuration } from './duration.ts';
import type { DocumentPath } from './mistake.ts';

/** A checked shape of YAML that gives a T. Made by the functions below, used by parseYamlDocument. */
export type Field<T> = z.ZodType<T>;

interface Described {
  /** What the key is for, as a sentence for the reference page. */
  readonly description: string;
}

/** What is known of a field beyond its type: for messages and for the reference page. */
export interface FieldInfo extends Described {
  /** Completes "expected …", such as "a duration such as 1h". */
  readonly expected: string;
  /** As it would be written in the file. */
  readonly defaultText?: string;
}

/** Reports a mistake that lies between fields. The path starts at the section. */
export type ReportMistake = (path: DocumentPath, message: string, remedy: string) => void;

const INFO = z.registry<FieldInfo>();

/** The info of a field, without its wrappers' own. */
export function infoOf(field: z.ZodType): FieldInfo | undefined {
  return INFO.get(field);
}

/** Text that `parse` turns into a T. The message of the SvidgateError it throws becomes the remedy. */
export function textField<T = string>(
  info: Described & { readonly expected: string; readonly default?: string },
  parse: (text: string) => T = (text) => text as T,
): Field<T> {
  const field = z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof SvidgateError)) throw error;
      context.issues.push({ code: 'custom', input: text, message: error.message });
      return z.NEVER;
    }
  });
  return described(field, { ...info, defaultText: info.default }, info.default);
}

/** Milliseconds between `min` and `max`, all written as `1h30m`. */
export function durationField(
  info: Described & { readonly min: string; readonly max: string; readonly default?: string },
): Field<number> {
  const [min, max] = [parseDuration(info.min), parseDuration(info.max)];
  const expected = `a duration from ${formatDuration(min)} to ${formatDuration(max)}, such as ${info.default ?? '1h30m'}`;
  return textField({ ...info, expected }, (text) => {
    const ms = parseDuration(text);
    if (ms < min || ms > max) throw new SvidgateError('config_invalid', `expected ${expected}`);
    return ms;
  });
}

/** A whole number between `min` and `max`, both included. */
export function integerField(
  info: Described & { readonly min: number; readonly max: number; readonly default?: number; readonly unit?: string },
): Field<number> {
  const expected = `a whole number${info.unit === undefined ? '' : ` of ${info.unit}`} from ${info.min} to ${info.max}`;
  const field = z.int().min(info.min).max(info.max);
  const defaultText = info.default === undefined ? undefined : String(info.default);
  return described(field, { ...info, expected, defaultText }, info.default);
}

/** A number from 0 to 1, both included. */
export function shareField(info: Described & { readonly default: number }): Field<number> {
  const text = { ...info, expected: 'a number from 0 to 1', defaultText: String(info.default) };
  return described(z.number().min(0).max(1), text, info.default);
}

/** `true` or `false`. */
export function flagField(info: Described & { readonly default: boolean }): Field<boolean> {
  const text = { ...info, expected: 'true or false', defaultText: String(info.default) };
  return described(z.boolean(), text, info.default);
}

/** One of the words. */
export function choiceField<const C extends string>(
  choices: readonly [C, ...C[]],
  info: Described & { readonly default: NoInfer<C> },
): Field<C> {
  const words = choices.map((choice) => `\`${choice}\``);
  const expected = words.length === 1 ? words.join('') : `one of ${words.join(', ')}`;
  return described(
    z.enum(choices) as unknown as Field<C>,
    { ...info, expected, defaultText: info.default },
    info.default,
  );
}

/** A list with at least `min` elements (default 0). `check` sees the elements that are right by themselves. */
export function listField<T>(
  element: Field<T>,
  info: Described & { readonly expected: string; readonly min?: number },
  check?: (elements: ReadonlyMap<number, T>, report: ReportMistake) => void,
): Field<T[]> {
  const field = z.array(element).min(info.min ?? 0);
  if (check === undefined) return described(field, info);
  const run = (value: unknown, context: z.RefinementCtx): void => {
    if (!Array.isArray(value)) return;
    const wrong = new Set(context.issues.map((issue) => issue.path?.[0]));
    const right = new Map([...(value as T[]).entries()].filter(([index]) => !wrong.has(index)));
    check(right, (path, message, remedy) => context.addIssue(betweenFields(path, message, remedy)));
  };
  return described(field.superRefine(run, { when: () => true }), info);
}

/** The key may be left out and is then undefined: a default of the field itself does not count. */
export function optionalField<T>(field: Field<T>): z.ZodOptional<Field<T>> {
  const bare = field instanceof z.ZodPrefault ? (field.unwrap() as Field<T>) : field;
  return bare.optional();
}

/** A mapping from names to fields of one shape, at least one. A name has to match the pattern. */
export function namedFields<T>(
  element: Field<T>,
  info: Described & {
    readonly expected: string;
    readonly pattern: RegExp;
    readonly patternText: string;
    readonly default?: unknown;
    readonly defaultText?: string;
  },
): Field<Record<string, T>> {
  const checkNames = (value: unknown, context: z.RefinementCtx): void => {
    if (!isMapping(value)) return;
    const names = Object.keys(value);
    if (names.length === 0) context.addIssue(betweenFields([], 'no name is given', `expected ${info.expected}`));
    for (const name of names) {
      if (info.pattern.test(name)) continue;
      const issue = betweenFields([name], `${JSON.stringify(name)} is not a valid name`, info.patternText);
      context.addIssue({ ...issue, params: { ...issue.params, part: 'key' } });
    }
  };
  const field = z.record(z.string(), element).superRefine(checkNames, { when: () => true });
  return described(field, info, info.default);
}

/** Gets the keys that are right by themselves, and the names of those that are not. */
type SectionCheck<T> = (value: T, report: ReportMistake, wrong: ReadonlySet<PropertyKey>) => void;

/**
 * A mapping with exactly these keys. When it is left out, all its fields take their defaults; wrap it in optionalField
 * when its absence means something else. `check` sees the keys that are right by themselves.
 */
export function sectionField<const S extends z.core.$ZodLooseShape>(
  shape: S,
  info: Described,
  check?: SectionCheck<Partial<z.output<z.ZodObject<S>>>>,
): Field<z.output<z.ZodObject<S, z.core.$strict>>> {
  // zod otherwise writes itself a parser with `new Function`, and it decides so when the object schema is made.
  z.config({ jitless: true });
  const expected = `a mapping with keys such as \`${Object.keys(shape)[0] ?? ''}\``;
  const field = z.strictObject(shape);
  return described(check === undefined ? field : withCheck(field, check), { ...info, expected }, {});
}

/** Runs even when some keys are wrong, with these left out, so that all mistakes are reported at once. */
function withCheck<F extends z.ZodType>(field: F, check: SectionCheck<never>): F {
  const run = (value: unknown, context: z.RefinementCtx): void => {
    if (!isMapping(value)) return;
    const wrong = new Set(context.issues.flatMap((issue) => issue.path?.[0] ?? []));
    const right = Object.fromEntries(Object.entries(value).filter(([key]) => !wrong.has(key)));
    check(right as never, (path, message, remedy) => context.addIssue(betweenFields(path, message, remedy)), wrong);
  };
  return field.superRefine(run, { when: () => true });
}

type BetweenFieldsIssue = {
  readonly code: 'custom';
  readonly path: PropertyKey[];
  /** The remedy: zod has one text for each issue. */
  readonly message: string;
  readonly params: { readonly message: string };
};

function betweenFields(path: DocumentPath, message: string, remedy: string): BetweenFieldsIssue {
  return { code: 'custom', path: [...path], message: remedy, params: { message } };
}

function isMapping(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function described<T>(
  field: z.ZodType<T>,
  info: Omit<FieldInfo, 'defaultText'> & { readonly defaultText?: string | undefined },
  defaultInput?: unknown,
): Field<T> {
  const { description, expected, defaultText } = info;
  INFO.add(field, defaultText === undefined ? { description, expected } : { description, expected, defaultText });
  return defaultInput === undefined ? field : field.prefault(() => defaultInput);
}
