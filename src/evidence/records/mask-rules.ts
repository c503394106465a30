import { isCredentialName } from '../../core/index.ts';
import { looksSecret, RemovedTexts } from './secret-text.ts';

/** What is kept of a value. Whatever has no rule is erased. */
export type MaskRule =
  /** All of it, but for texts that look like secrets. */
  | { readonly kind: 'keep' }
  | { readonly kind: 'erase' }
  /** Of an object. `others`: default erase. `freeNames`: keys may be secrets themselves; `odd`: those that are no plain words. */
  | {
      readonly kind: 'members';
      readonly members: Readonly<Record<string, MaskRule>>;
      readonly others?: (name: string) => MaskRule;
      readonly freeNames: 'all' | 'odd' | 'none';
    }
  /** Of an array: the rule of each element. */
  | { readonly kind: 'elements'; readonly rule: MaskRule }
  /** Of a text: what is kept of it; undefined for nothing. */
  | { readonly kind: 'text'; readonly shown: (text: string) => string | undefined };

export const KEEP: MaskRule = { kind: 'keep' };
export const ERASE: MaskRule = { kind: 'erase' };

type Container = Record<string | number, unknown>;

export interface MaskingOptions {
  /** JSON pointers below which everything is kept. */
  readonly shownPaths: readonly string[];
  /** Whether a key comes from the policy or the configuration, and not from a request. */
  readonly isKnownName: (name: string) => boolean;
}

/** Removes from one record what no rule keeps, and notes where it was. */
export class Masking {
  readonly #options: MaskingOptions;
  readonly #erased = new Set<string>();
  readonly #masked = new Set<string>();
  readonly #removedValues: unknown[] = [];
  #removed: RemovedTexts | undefined;

  constructor(options: MaskingOptions) {
    this.#options = options;
  }

  /** JSON pointers. */
  get erased(): readonly string[] {
    return [...this.#erased];
  }

  get masked(): readonly string[] {
    return [...this.#masked];
  }

  /** What was removed so far. */
  get removed(): RemovedTexts {
    if (this.#removed === undefined) {
      this.#removed = new RemovedTexts();
      for (const value of this.#removedValues) addTexts(value, this.#removed);
    }
    return this.#removed;
  }

  /** Masks a member of a record in place. */
  apply(record: object, name: string, rule: MaskRule): void {
    this.#visit({ container: record as Container, key: name, pointer: `/${escapeSegment(name)}` }, rule);
  }

  /** Notes what is not there any more. */
  note(pointer: string, value: unknown): void {
    this.#erased.add(pointer);
    this.#removedValues.push(value);
    this.#removed = undefined;
  }

  #visit(at: Place, rule: MaskRule): void {
    const value = at.container[at.key];
    if (value === undefined || isEmpty(value)) return;
    const isShown = this.#options.shownPaths.some((path) => isBelow(at.pointer, path));
    if (isShown || rule.kind === 'keep') return this.#keep(at, value);
    if (rule.kind !== 'erase') return this.#visitInside(at, value, rule);
    if (this.#hasShownBelow(at) && isContainer(value)) return this.#visitMembers(at, value, NOTHING);
    return this.#erase(at, value);
  }

  #visitInside(at: Place, value: unknown, rule: MaskRule): void {
    if (rule.kind === 'members' && isContainer(value) && !Array.isArray(value)) this.#visitMembers(at, value, rule);
    else if (rule.kind === 'elements' && Array.isArray(value)) {
      for (const key of value.keys()) this.#visit(placeIn(at, value as unknown as Container, key), rule.rule);
    } else if (rule.kind === 'text' && typeof value === 'string') this.#visitText(at, value, rule.shown(value));
    else this.#erase(at, value);
  }

  #visitMembers(at: Place, value: Container, rule: MaskRule & { readonly kind: 'members' }): void {
    for (const key of Object.keys(value)) {
      const own = Object.hasOwn(rule.members, key) ? rule.members[key] : undefined;
      const isNamed =
        own !== undefined ||
        rule.freeNames === 'none' ||
        (rule.freeNames === 'odd' && isPlainName(key)) ||
        this.#options.isKnownName(key);
      const place = { ...placeIn(at, value, key), ...(isNamed ? {} : { shownPointer: at.shownPointer ?? at.pointer }) };
      this.#visit(place, own ?? rule.others?.(key) ?? ERASE);
    }
  }

  #visitText(at: Place, text: string, shown: string | undefined): void {
    if (shown === undefined || looksSecret(shown)) return this.#erase(at, text);
    if (shown === text) return;
    at.container[at.key] = shown;
    this.#masked.add(at.shownPointer ?? at.pointer);
    this.#removedValues.push(text);
  }

  /** All of it but what looks like a secret, or is called one. */
  #keep(at: Place, value: unknown): void {
    if (typeof value === 'string') {
      if (looksSecret(value)) this.#erase(at, value);
      return;
    }
    if (!isContainer(value)) return;
    for (const key of Object.keys(value)) {
      const place = placeIn(at, value, key);
      if (looksSecret(key)) this.#erase({ ...place, shownPointer: at.shownPointer ?? at.pointer }, value[key]);
      else if (isCredentialName(key) || isNeverHeader(value[key])) this.#erase(place, value[key]);
      else this.#keep(place, value[key]);
    }
  }

  #erase(at: Place, value: unknown): void {
    if (Array.isArray(at.container)) at.container[at.key] = null;
    else delete at.container[at.key];
    this.note(at.shownPointer ?? at.pointer, value);
  }

  #hasShownBelow({ pointer }: Place): boolean {
    return this.#options.shownPaths.some((path) => isBelow(path, pointer));
  }
}

const NOTHING: MaskRule & { readonly kind: 'members' } = {
  kind: 'members',
  members: {},
  freeNames: 'all',
};

interface Place {
  readonly container: Container;
  readonly key: string | number;
  readonly pointer: string;
  /** What is told in place of `pointer`, whose last key nobody may see. */
  readonly shownPointer?: string;
}

function placeIn(at: Place, container: Container, key: string | number): Place {
  const pointer = `${at.pointer}/${escapeSegment(String(key))}`;
  return { container, key, pointer, ...(at.shownPointer === undefined ? {} : { shownPointer: at.shownPointer }) };
}

/** As Envoy shows headers with `encode_raw_headers`. */
function isNeverHeader(value: unknown): boolean {
  const key = isContainer(value) ? value['key'] : undefined;
  return typeof key === 'string' && isCredentialName(key);
}

function isPlainName(name: string): boolean {
  return /^:?[a-z]+(?:[-_][a-z0-9]{1,16})*$/.test(name) && !/\d{3}|[0-9a-f]{8}/.test(name);
}

/** RFC 6901 §3. */
export function escapeSegment(key: string): string {
  return /[~/]/.test(key) ? key.replaceAll('~', '~0').replaceAll('/', '~1') : key;
}

function isBelow(pointer: string, path: string): boolean {
  return pointer === path || (pointer.startsWith(path) && pointer[path.length] === '/');
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null && !isRawJson(value);
}

/** A large number as its text. */
const { isRawJSON: isRawJson } = JSON as unknown as { readonly isRawJSON: (value: unknown) => boolean };

/** Says nothing. */
function isEmpty(value: unknown): boolean {
  return value === null || value === '' || (isContainer(value) && Object.keys(value).length === 0);
}

function addTexts(value: unknown, to: RemovedTexts): void {
  if (typeof value === 'string') to.add(value);
  else if (typeof value === 'number') to.add(String(value));
  else if (isContainer(value)) {
    for (const [key, below] of Object.entries(value)) {
      to.add(key);
      addTexts(below, to);
    }
  } else if (isRawJson(value)) to.add(JSON.stringify(value));
}
