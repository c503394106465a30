import { parseYamlTree, type DocumentPath, type Mistake, type Place } from '../config/index.ts';

/** A value of a manifest, with its place for messages. */
export class Manifest {
  readonly value: unknown;
  readonly #path: DocumentPath;
  readonly #placeOf: (path: DocumentPath) => Place;

  constructor(value: unknown, placeOf: (path: DocumentPath) => Place, path: DocumentPath = []) {
    this.value = value;
    this.#placeOf = placeOf;
    this.#path = path;
  }

  get place(): Place {
    return this.#placeOf(this.#path);
  }

  get keys(): readonly string[] {
    return isMapping(this.value) ? Object.keys(this.value) : [];
  }

  /** Of a mapping; its value is undefined where there is no such key. */
  at(key: string): Manifest {
    const child = isMapping(this.value) && Object.hasOwn(this.value, key) ? this.value[key] : undefined;
    return new Manifest(child, this.#placeOf, [...this.#path, key]);
  }

  /** Of a list; undefined where it is none. */
  get elements(): readonly Manifest[] | undefined {
    if (!Array.isArray(this.value)) return undefined;
    return this.value.map((each: unknown, index) => new Manifest(each, this.#placeOf, [...this.#path, index]));
  }
}

/** Every document of a file, also those in a List; or what is not YAML in it. */
export function readManifests(
  text: string,
  file: string,
): { readonly manifests: readonly Manifest[]; readonly mistakes: readonly Mistake[] } {
  const manifests: Manifest[] = [];
  const mistakes: Mistake[] = [];
  let line = 0;
  for (const part of text.split(/^---(?:[ \t].*)?$/m)) {
    const before = line;
    line += part.split('\n').length - 1;
    if (!/^\s*[^\s#]/m.test(part)) continue;
    const tree = parseYamlTree(part, file);
    mistakes.push(...tree.mistakes.map((mistake) => ({ ...mistake, line: mistake.line + before })));
    if (tree.value === undefined) continue;
    const document = new Manifest(tree.value, (path) => {
      const place = tree.placeOf(path, 'value');
      return { ...place, line: place.line + before };
    });
    const items = document.at('kind').value === 'List' ? document.at('items').elements : undefined;
    manifests.push(...(items ?? [document]));
  }
  return { manifests, mistakes };
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
