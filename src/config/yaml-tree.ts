import {
  isAlias,
  isCollection,
  isMap,
  isScalar,
  LineCounter,
  parseDocument,
  type Document,
  type Node,
  type Pair,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import type { DocumentPath, Mistake, Place } from './mistake.ts';

/** A document as plain values: mappings without a prototype, arrays, strings, finite numbers, booleans and null. */
export interface YamlTree {
  /** Undefined when the text is not YAML at all, so that there is nothing to check further. */
  readonly value: unknown;
  /** Where the value at the path stands, or its key; what is not in the text takes the nearest enclosing place. */
  readonly placeOf: (path: DocumentPath, part: 'key' | 'value') => Place;
  readonly mistakes: readonly Mistake[];
}

const MAX_DEPTH = 64;
const DEPTH_REMEDY = `use at most ${MAX_DEPTH} levels`;
/** What aliases may add to the text's own nodes before it is a bomb. */
const MAX_ALIASED_NODES = 100_000;

/** Remedies for the syntax errors people make most. */
const SYNTAX_REMEDY: Readonly<Record<string, string>> = {
  BAD_INDENT: 'align this line with its neighbours',
  BLOCK_AS_IMPLICIT_KEY: 'start the nested mapping on a line of its own, or quote the text',
  MISSING_CHAR: 'close what was opened, or add the missing space or colon',
  MULTIPLE_DOCS: 'keep one document: remove the line `---`',
  NON_STRING_KEY: 'write the key as plain text',
  TAB_AS_INDENT: 'indent with spaces',
  TAG_RESOLVE_FAILED: 'leave the tag out',
};

/** Never throws because of the text, and takes time linear in it. */
export function parseYamlTree(text: string, file: string): YamlTree {
  const lines = new LineCounter();
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const mistakes: Mistake[] = [];
  const report = (offset: number, message: string, remedy: string): void => {
    mistakes.push({ file, ...at(offset), message, remedy });
  };
  const document = parse(text, lines);
  if (document instanceof Error) {
    // The package's recursion overflows on deep nesting; whatever else a text may do to it, the text is at fault.
    if (document instanceof RangeError) report(0, 'nested too deeply', DEPTH_REMEDY);
    else report(0, 'not valid YAML', 'correct or simplify the YAML');
    return { value: undefined, placeOf: () => ({ line: 1, column: 1 }), mistakes };
  }
  reportSyntax([...document.errors, ...document.warnings], report);
  const value = mistakes.length > 0 ? undefined : toPlain(document.contents, report);
  return { value, placeOf: placesIn(document, at), mistakes };
}

function parse(text: string, lineCounter: LineCounter): Document.Parsed | Error {
  try {
    return parseDocument(text, {
      lineCounter,
      logLevel: 'silent',
      prettyErrors: false,
      resolveKnownTags: false,
      stringKeys: true,
      uniqueKeys: false, // checked below: the package's own check takes quadratic time
    });
  } catch (error) {
    return error instanceof Error ? error : new Error('not an Error');
  }
}

type Report = (offset: number, message: string, remedy: string) => void;

function reportSyntax(errors: readonly YAMLError[], report: Report): void {
  if (errors.some(({ code }) => code === 'RESOURCE_EXHAUSTION')) {
    // How deep the package gets depends on the stack left, so its position says nothing.
    report(0, 'nested too deeply', DEPTH_REMEDY);
    return;
  }
  const seen = new Set<string>();
  for (const { code, pos, message } of errors) {
    const text = `not valid YAML: ${message.replace(/\.$/, '')}`;
    if (seen.has(`${pos[0]} ${text}`)) continue;
    seen.add(`${pos[0]} ${text}`);
    report(pos[0], text, SYNTAX_REMEDY[code] ?? 'correct the YAML at this place');
  }
}

function toPlain(root: Node | null, report: Report): unknown {
  const anchors = new Map<string, { readonly value: unknown; readonly nodes: number }>();
  let nodes = 0;
  let aliased = 0;
  let isBroken = false;

  const convert = (node: unknown, depth: number): unknown => {
    if (node === null || node === undefined) return null;
    nodes += 1;
    const before = nodes;
    const value = convertBare(node as Node, depth);
    const anchor = (node as Node & { anchor?: string }).anchor;
    if (anchor !== undefined) anchors.set(anchor, { value, nodes: nodes - before + 1 });
    return value;
  };

  const convertBare = (node: Node, depth: number): unknown => {
    const offset = node.range?.[0] ?? 0;
    if (depth >= MAX_DEPTH) {
      isBroken = true;
      report(offset, 'nested too deeply', DEPTH_REMEDY);
      return null;
    }
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      aliased += target?.nodes ?? 0;
      nodes += target?.nodes ?? 0;
      if (target === undefined) report(offset, `alias \`*${node.source}\` has no anchor before it`, 'write the value');
      else if (aliased > MAX_ALIASED_NODES) report(offset, 'aliases repeat too much', 'write the values out');
      else return target.value;
      isBroken = true;
      return null;
    }
    if (isMap(node)) return convertMap(node.items, depth);
    if (isCollection(node)) return node.items.map((item) => convert(item, depth + 1));
    return isScalar(node) ? node.value : null;
  };

  const convertMap = (items: readonly { key: unknown; value: unknown }[], depth: number): unknown => {
    const map = Object.create(null) as Record<string, unknown>;
    for (const { key, value } of items) {
      const name = isScalar(key) ? String(key.value) : '';
      const offset = isScalar(key) ? (key.range?.[0] ?? 0) : 0;
      if (name === '__proto__') report(offset, 'key `__proto__` is not allowed', 'remove it');
      else if (Object.hasOwn(map, name)) report(offset, `duplicate key \`${name}\``, 'keep one of them');
      else map[name] = convert(value, depth + 1);
    }
    return map;
  };

  const value = convert(root, 0);
  return isBroken ? undefined : value;
}

function placesIn(document: Document.Parsed, at: (offset: number) => Place): YamlTree['placeOf'] {
  // One mapping may hold thousands of mistakes: each is found without going through all keys again.
  const indexes = new WeakMap<YAMLMap, ReadonlyMap<string, Pair>>();
  const pairsOf = (map: YAMLMap): ReadonlyMap<string, Pair> => {
    const index = indexes.get(map) ?? indexPairs(map);
    indexes.set(map, index);
    return index;
  };
  return (path, part) => {
    let node: unknown = document.contents;
    let offset = document.contents?.range?.[0] ?? 0;
    for (const [index, step] of path.entries()) {
      if (isAlias(node)) node = node.resolve(document);
      if (isMap(node)) {
        const pair = pairsOf(node).get(String(step));
        if (pair === undefined) break;
        offset = startOf(pair.key) ?? offset;
        // An empty value has no characters of its own: its key is the better place.
        if (index === path.length - 1 && part === 'value') offset = startOf(pair.value) ?? offset;
        node = pair.value;
      } else {
        node = isCollection(node) && typeof step === 'number' ? node.items[step] : undefined;
        if (node === undefined) break;
        offset = startOf(node) ?? offset;
      }
    }
    return at(offset);
  };
}

/** The first of equal keys counts: the others are mistakes of their own. */
function indexPairs(map: YAMLMap): ReadonlyMap<string, Pair> {
  const index = new Map<string, Pair>();
  for (const pair of map.items) {
    const name = isScalar(pair.key) ? String(pair.key.value) : '';
    if (!index.has(name)) index.set(name, pair);
  }
  return index;
}

function startOf(node: unknown): number | undefined {
  if (isScalar(node) && node.source === '' && node.type === 'PLAIN') return undefined;
  return (node as Node | null | undefined)?.range?.[0];
}
