import type { DecisionRecord } from './decision-record.ts';

/** What became of a record under `data.system.log` of its policy. */
export type RuledRecord =
  | {
      readonly kind: 'kept';
      readonly record: DecisionRecord;
      /** The rules could not be followed. */ readonly failed: boolean;
    }
  | { readonly kind: 'dropped' };

/** How the rules were evaluated: as Evaluation, as far as it matters. */
export interface RulesAnswer {
  readonly kind: string;
  readonly value?: unknown;
}

interface MaskRule {
  readonly op: 'remove' | 'upsert';
  readonly pointer: string;
  readonly path: readonly string[];
  readonly value?: unknown;
}

type Container = Record<string, unknown> | unknown[];

const ROOTS: readonly string[] = ['input', 'result', 'nd_builtin_cache'];

/**
 * Follows the rules as OPA does (openpolicyagent.org/docs/management-decision-logs#masking-sensitive-data): pointers, or
 * objects with `op`, `path` and `value`; what is not there is passed over. Unlike OPA, which then drops the record: rules that
 * fail erase input, result and answers of builtins altogether, and a `drop` that fails drops nothing. The record is the caller's.
 */
export function applyLogRules(record: DecisionRecord, answer: RulesAnswer): RuledRecord {
  const rules = answer.kind === 'undefined' ? {} : answer.value;
  if (answer.kind === 'error' || !isObject(rules)) return { kind: 'kept', record: eraseAll(record), failed: true };
  const { mask, drop } = rules;
  if (drop === true) return { kind: 'dropped' };
  const parsed = parseMask(mask);
  if (parsed === undefined) return { kind: 'kept', record: eraseAll(record), failed: true };
  const erased: string[] = [];
  const masked: string[] = [];
  for (const rule of parsed) {
    if (rule.op === 'remove' && remove(record as unknown as Container, rule.path)) erased.push(rule.pointer);
    if (rule.op === 'upsert' && upsert(record as unknown as Container, rule)) masked.push(rule.pointer);
  }
  return {
    kind: 'kept',
    record: noted(record, erased, masked),
    failed: drop !== undefined && typeof drop !== 'boolean',
  };
}

/** Undefined where a rule is none. */
function parseMask(mask: unknown): readonly MaskRule[] | undefined {
  if (mask === undefined) return [];
  if (!Array.isArray(mask)) return undefined;
  const rules = mask.map(parseRule);
  return rules.every((rule) => rule !== undefined) ? rules : undefined;
}

function parseRule(given: unknown): MaskRule | undefined {
  const rule = typeof given === 'string' ? { op: 'remove', path: given } : given;
  if (!isObject(rule)) return undefined;
  const { op, path: pointer, value } = rule;
  if ((op !== 'remove' && op !== 'upsert') || typeof pointer !== 'string' || !pointer.startsWith('/')) return undefined;
  const path = pointer
    .slice(1)
    .split('/')
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
  return ROOTS.includes(path[0] ?? '') ? { op, pointer, path, value } : undefined;
}

function remove(record: Container, path: readonly string[]): boolean {
  const key = path.at(-1) ?? '';
  const parent = lookUp(record, path.slice(0, -1));
  if (parent === undefined || memberOf(parent, key) === undefined) return false;
  if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else delete parent[key];
  return true;
}

function upsert(record: Container, { path, value }: MaskRule): boolean {
  const key = path.at(-1) ?? '';
  const parent = lookUp(record, path.slice(0, -1), true);
  if (parent === undefined) return false;
  if (!Array.isArray(parent)) set(parent, key, value);
  else if (memberOf(parent, key) === undefined) return false;
  else parent[Number(key)] = value;
  return true;
}

/** The object or array at the path. `makes`: objects that are missing on the way are made. */
function lookUp(record: Container, path: readonly string[], makes = false): Container | undefined {
  let at: Container = record;
  for (const key of path) {
    let next = memberOf(at, key);
    if (next === undefined && makes && !Array.isArray(at)) set(at, key, (next = {}));
    if (typeof next !== 'object' || next === null) return undefined;
    at = next as Container;
  }
  return at;
}

function memberOf(container: Container, key: string): unknown {
  if (!Array.isArray(container)) return Object.hasOwn(container, key) ? container[key] : undefined;
  return /^(?:0|[1-9]\d{0,8})$/.test(key) ? container[Number(key)] : undefined;
}

/** Not by assignment: a key may be `__proto__`. */
function set(container: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(container, key, { value, writable: true, enumerable: true, configurable: true });
}

/** Without input, result and answers of builtins, and told so. */
export function eraseAll(record: DecisionRecord): DecisionRecord {
  const { input, result, nd_builtin_cache: nd, ...rest } = record;
  const erased = [
    ...(input === undefined ? [] : ['/input']),
    ...(result === undefined ? [] : ['/result']),
    ...(nd === undefined ? [] : ['/nd_builtin_cache']),
  ];
  return noted(rest, erased, []);
}

/** With pointers to what was removed and replaced; without it the decision cannot be made again. */
function noted(record: DecisionRecord, erased: readonly string[], masked: readonly string[]): DecisionRecord {
  if (erased.length + masked.length === 0) return record;
  const all = [...(record.erased ?? []), ...erased];
  const replaced = [...(record.masked ?? []), ...masked];
  const missing = [...erased, ...masked].filter((pointer) => !pointer.startsWith('/result'));
  const { svidgate } = record;
  return {
    ...record,
    ...(all.length === 0 ? {} : { erased: [...new Set(all)] }),
    ...(replaced.length === 0 ? {} : { masked: [...new Set(replaced)] }),
    svidgate:
      missing.length === 0
        ? svidgate
        : {
            ...svidgate,
            replayable: false,
            unreplayable: [...new Set([...(svidgate.unreplayable ?? []), ...missing])],
          },
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
