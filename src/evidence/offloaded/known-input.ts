import type { InputNeeds } from '../../policy/index.ts';
import type { JsonRecord, RecordedPaths } from '../records/decision-record.ts';
import { pickInput } from '../replay/pick-input.ts';
import {
  headerPart,
  HEADERS,
  PARTS,
  Uncertain,
  UNKNOWN,
  type Logged,
  type Path,
  type ReadPart,
} from './known-parts.ts';

/** Of an input document: the parts that are as the gate would have had them. */
export interface KnownInput {
  readonly document: JsonRecord;
  /** Which part of the input that is. */
  readonly recorded: RecordedPaths;
  /** JSON pointers to what was wanted and is not known. */
  readonly missing: readonly string[];
}

/** What the log may tell of what is wanted. */
interface Step {
  readonly at: Path;
  readonly read: ReadPart;
  readonly needs: InputNeeds;
  /** Beneath it. */
  readonly wanted: readonly Path[];
}

interface Plan {
  readonly steps: readonly Step[];
  /** What no log tells. */
  readonly missing: readonly string[];
}

/** By what policies look at: the same array for all decisions of one policy. */
const plans = new WeakMap<readonly Path[], Plan>();

/** The input of a request that was logged, as far as the log has it: of all of it, or of these paths. */
export function knownInput(logged: Logged, wanted: RecordedPaths): KnownInput {
  if (wanted === 'all') return { ...follow(wholePlan(logged), logged), missing: ['/input'] };
  let plan = plans.get(wanted);
  if (plan === undefined) plans.set(wanted, (plan = planFor(wanted)));
  const known = follow(plan, logged);
  return known.missing.length === 0 ? { ...known, recorded: wanted } : known;
}

function follow({ steps, missing: never }: Plan, logged: Logged): KnownInput {
  const document: Record<string, unknown> = {};
  const recorded: Path[] = [];
  const missing = [...never];
  for (const { at, read, needs, wanted } of steps) {
    const value = read(logged);
    if (value === UNKNOWN) {
      missing.push(...wanted.map(pointerOf));
      continue;
    }
    const isCertain = !(value instanceof Uncertain);
    if (isCertain) recorded.push(...wanted);
    else missing.push(...wanted.map(pointerOf));
    const shown = isCertain ? value : value.value;
    if (shown !== undefined) setAt(document, at, ownCopy(pickInput(shown, needs)));
  }
  return { document, recorded, missing };
}

function wholePlan({ request }: Logged): Plan {
  const headers = [...request.headers.keys()].filter((name) => !name.startsWith(':'));
  const parts = [...PARTS, ...headers.map((name) => [[...HEADERS, name], headerPart(name)] as const)];
  return { steps: parts.map(([at, read]) => ({ at, read, needs: 'all', wanted: [at] })), missing: [] };
}

function planFor(wanted: readonly Path[]): Plan {
  const missing: string[] = [];
  const found = new Map<string, { readonly at: Path; readonly read: ReadPart; readonly wanted: Path[] }>();
  for (const path of wanted) {
    const [at, read] = partAbove(path) ?? [];
    if (at === undefined || read === undefined) {
      missing.push(pointerOf(path));
      continue;
    }
    const key = pointerOf(at);
    const part = found.get(key) ?? { at, read, wanted: [] };
    found.set(key, part);
    part.wanted.push(path);
  }
  const steps = [...found.values()].map((part) => {
    return { ...part, needs: needsOf(part.wanted.map((path) => path.slice(part.at.length))) };
  });
  return { steps, missing };
}

/** The part that holds all that stands at the path. */
function partAbove(path: Path): readonly [Path, ReadPart] | undefined {
  const part = PARTS.find(([at]) => startsWith(path, at));
  if (part !== undefined || !startsWith(path, HEADERS)) return part;
  const name = path[HEADERS.length];
  return typeof name === 'string' ? [[...HEADERS, name], headerPart(name)] : undefined;
}

/** The paths as a tree. */
function needsOf(paths: readonly Path[]): InputNeeds {
  if (paths.some((path) => path.length === 0)) return 'all';
  const heads = Map.groupBy(paths, ([head = '']) => head);
  return new Map([...heads].map(([head, below]) => [head, needsOf(below.map((path) => path.slice(1)))]));
}

function startsWith(path: Path, start: Path): boolean {
  return start.length <= path.length && start.every((key, index) => key === path[index]);
}

function pointerOf(path: Path): string {
  return ['/input', ...path.map((key) => String(key).replaceAll('~', '~0').replaceAll('/', '~1'))].join('/');
}

/** As JSON.parse makes them; above the last key there are only those of PARTS. */
function setAt(document: Record<string, unknown>, path: Path, value: unknown): void {
  const last = path.length - 1;
  let at = document;
  for (let index = 0; index < last; index += 1) {
    const key = path[index] ?? '';
    at[key] ??= {};
    at = at[key] as Record<string, unknown>;
  }
  set(at, String(path[last]), value);
}

/** What JSON text would make of it: parts of inputs are shared, and a record is masked in place. */
function ownCopy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((element) => ownCopy(element) ?? null);
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const below = (value as JsonRecord)[key];
    if (below !== undefined) set(copy, key, ownCopy(below));
  }
  return copy;
}

/** Names of headers and parameters are what a client likes. */
function set(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key !== '__proto__') object[key] = value;
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}
