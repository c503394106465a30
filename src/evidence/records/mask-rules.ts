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
  /** JSON pointers below which everything is kept but credentials. */
  readonly shownPaths: readonly string[];
  /** What is kept of the path of a request, wherever it is. */
  readonly shownOfPath: (text: string) => string;
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
    this.#visit({ container: record as Container, key: name, above: undefined, isHidden: false }, rule);
  }

  /** Notes what is not there any more. */
  note(pointer: string, value: unknown): void {
    this.#erased.add(pointer);
    this.#remember(value);
  }

  #remember(value: unknown): void {
    if (this.#removed === undefined) this.#removedValues.push(value);
    else addTexts(value, this.#removed);
  }

  #visit(at: Place, rule: MaskRule): void {
    const value = at.container[at.key];
    if (value === undefined || isEmpty(value)) return;
    if (this.#isShown(at)) return this.#show(at, value);
    if (rule.kind === 'keep') return isCredentialName(String(at.key)) ? this.#erase(at, value) : this.#keep(at, value);
    if (rule.kind !== 'erase') return this.#visitInside(at, value, rule);
    if (this.#hasShownBelow(at) && isContainer(value) && !isCredential(value))
      return this.#visitMembers(at, value, NOTHING);
    return this.#erase(at, value);
  }

  #visitInside(at: Place, value: unknown, rule: MaskRule): void {
    if (rule.kind === 'members' && isContainer(value) && !Array.isArray(value)) this.#visitMembers(at, value, rule);
    else if (rule.kind === 'elements' && Array.isArray(value)) {
      for (const key of value.keys()) this.#visit(placeIn(at, key), rule.rule);
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
      this.#visit(placeIn(at, key, !isNamed), own ?? rule.others?.(key) ?? ERASE);
    }
  }

  #visitText(at: Place, text: string, shown: string | undefined): void {
    if (shown === undefined || !isKeepable(shown)) return this.#erase(at, text);
    if (shown === text) return;
    at.container[at.key] = shown;
    this.#masked.add(toldPointer(at));
    this.#remember(text);
  }

  /** All of it but what looks like a secret, or is called one. */
  #keep(at: Place, value: unknown): void {
    if (typeof value === 'string') {
      if (!isKeepable(value)) this.#erase(at, value);
      return;
    }
    if (!isContainer(value)) {
      if (isRawJson(value) && JSON.stringify(value).length > MAX_TEXT) this.#erase(at, value);
      return;
    }
    for (const key of Object.keys(value)) {
      const isNameKept = isKeepable(key);
      const place = placeIn(at, key, !isNameKept);
      if (!isNameKept || isCredentialName(key) || isCredentialPair(value[key])) this.#erase(place, value[key]);
      else this.#keep(place, value[key]);
    }
  }

  /** As `keep`, where nobody knows what the members are: names may stand beside their values. */
  #show(at: Place, value: unknown): void {
    const name = String(at.key);
    if (isCredentialName(name) || isCredential(value)) return this.#erase(at, value);
    if (typeof value === 'string' && PATH_NAME.test(name)) {
      return this.#visitText(at, value, this.#options.shownOfPath(value));
    }
    if (!isContainer(value)) return this.#keep(at, value);
    for (const key of Object.keys(value)) {
      const isNameKept = isKeepable(key);
      const place = placeIn(at, key, !isNameKept);
      if (isNameKept) this.#show(place, value[key]);
      else this.#erase(place, value[key]);
    }
  }

  #erase(at: Place, value: unknown): void {
    if (Array.isArray(at.container)) at.container[at.key] = null;
    else delete at.container[at.key];
    this.note(toldPointer(at), value);
  }

  #isShown(at: Place): boolean {
    const { shownPaths } = this.#options;
    if (shownPaths.length === 0) return false;
    const pointer = pointerOf(at);
    return shownPaths.some((path) => isBelow(pointer, path));
  }

  #hasShownBelow(at: Place): boolean {
    const { shownPaths } = this.#options;
    if (shownPaths.length === 0) return false;
    const pointer = pointerOf(at);
    return shownPaths.some((path) => isBelow(path, pointer));
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
  /** Where the container is; undefined for the record itself. */
  readonly above: Place | undefined;
  /** Whether nobody may see the key: then the place above is told instead. */
  readonly isHidden: boolean;
}

/** Of what stands at a place. */
function placeIn(above: Place, key: string | number, isHidden = false): Place {
  return { container: above.container[above.key] as Container, key, above, isHidden };
}

/** A JSON pointer. Most places are never told. */
function pointerOf(place: Place): string {
  let pointer = '';
  for (let at: Place | undefined = place; at !== undefined; at = at.above) {
    pointer = `/${escapeSegment(String(at.key))}${pointer}`;
  }
  return pointer;
}

/** To the place, or to what holds the uppermost key on the way that nobody may see. */
function toldPointer(place: Place): string {
  let told = place;
  for (let at: Place | undefined = place; at !== undefined; at = at.above) {
    if (at.isHidden && at.above !== undefined) told = at.above;
  }
  return pointerOf(told);
}

/** Longer texts are no evidence but a load: a record with some of them would be too large to be kept at all. */
const MAX_TEXT = 4096;
/** The path of a request, whose query may hold anything. */
const PATH_NAME = /^:?path$|^raw_path$/i;
/** Of a header or a parameter. */
const PAIR_NAME = /^:?[a-z][\w-]{0,63}$/i;

function isKeepable(text: string): boolean {
  return text.length <= MAX_TEXT && !looksSecret(text);
}

/** `{key, value}` as Envoy shows headers with `encode_raw_headers`, where a path may be in base64, or `{name, value}`. */
function isCredentialPair(value: unknown): boolean {
  if (!isContainer(value) || Array.isArray(value)) return false;
  return [value['key'], value['name']].some((name) => typeof name === 'string' && isNeverShown(name));
}

/** `[name, value]` */
function isCredentialTuple(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const name: unknown = value[0];
  return typeof name === 'string' && PAIR_NAME.test(name) && isNeverShown(name);
}

function isCredential(value: unknown): boolean {
  return isCredentialPair(value) || isCredentialTuple(value);
}

function isNeverShown(name: string): boolean {
  return isCredentialName(name) || name.toLowerCase() === ':path';
}

/** Whether a key in a JSON pointer is called what credentials are called. */
export function pointsToCredential(pointer: string): boolean {
  return pointer.split('/').some((segment) => isCredentialName(segment.replaceAll('~1', '/').replaceAll('~0', '~')));
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
  return value === null || value === '' || (isContainer(value) && !hasKeys(value));
}

function hasKeys(value: Container): boolean {
  for (const key in value) if (Object.hasOwn(value, key)) return true;
  return false;
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
