import { parseYamlTree, type DocumentPath, type Mistake, type Place, type YamlTree } from '../../config/index.ts';

/** A message of a configuration with its type; what a TypedStruct wraps is the message itself. */
export interface TypedMessage {
  /** Such as `envoy.extensions.filters.http.rbac.v3.RBAC`; empty where none is said. */
  readonly type: string;
  readonly node: EnvoyNode;
}

interface EnvoyDocument {
  readonly file: string;
  readonly tree: YamlTree;
}

const TYPED_STRUCT = /^(?:xds|udpa)\.type\.v[13]\.TypedStruct$/;

/** A value of an Envoy configuration in YAML or JSON, with its place. Fields are found as protobuf's JSON has them, too. */
export class EnvoyNode {
  readonly value: unknown;
  readonly #document: EnvoyDocument;
  readonly #path: DocumentPath;

  constructor(value: unknown, document: EnvoyDocument, path: DocumentPath = []) {
    this.value = value;
    this.#document = document;
    this.#path = path;
  }

  get place(): Place {
    return this.#document.tree.placeOf(this.#path, 'value');
  }

  /** Whether it is there and not null, which is the same to protobuf. */
  get isSet(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  get text(): string | undefined {
    return typeof this.value === 'string' ? this.value : undefined;
  }

  /** A field by its name in the proto file; `failureModeAllow` is `failure_mode_allow`. */
  at(field: string, ...further: readonly string[]): EnvoyNode {
    const names = [field, field.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())];
    const name = names.find((each) => isMapping(this.value) && Object.hasOwn(this.value, each)) ?? field;
    const [next, ...rest] = further;
    const child = this.entry(name);
    return next === undefined ? child : child.at(next, ...rest);
  }

  /** A key as it is written, of a map with keys of the author's own. */
  entry(key: string): EnvoyNode {
    const child = isMapping(this.value) && Object.hasOwn(this.value, key) ? this.value[key] : undefined;
    return new EnvoyNode(child, this.#document, [...this.#path, key]);
  }

  /** Keys with their values; nothing of what is no mapping. */
  get entries(): readonly (readonly [string, EnvoyNode])[] {
    return isMapping(this.value) ? Object.keys(this.value).map((key) => [key, this.entry(key)] as const) : [];
  }

  /** Nothing of what is no list. */
  get elements(): readonly EnvoyNode[] {
    if (!Array.isArray(this.value)) return [];
    return this.value.map((each: unknown, index) => new EnvoyNode(each, this.#document, [...this.#path, index]));
  }

  /** What an Any holds. */
  get message(): TypedMessage {
    const type = typeName(this.entry('@type').text);
    if (!TYPED_STRUCT.test(type)) return { type, node: this };
    return { type: typeName(this.at('type_url').text), node: this.at('value') };
  }

  /** Names of the fields that are set, as the proto file has them; without the type. */
  get fields(): readonly string[] {
    return this.entries
      .filter(([key, { isSet }]) => key !== '@type' && isSet)
      .map(([key]) => key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  }

  /** Whether a key or a text anywhere in it is this one. */
  mentions(text: string): boolean {
    if (this.value === text) return true;
    if (this.elements.some((each) => each.mentions(text))) return true;
    return this.entries.some(([key, each]) => key === text || each.mentions(text));
  }

  mistake(message: string, remedy: string): Mistake {
    return { file: this.#document.file, ...this.place, message, remedy };
  }
}

/** The document of a file, or what is not YAML in it. */
export function readEnvoyDocument(
  text: string,
  file: string,
): { readonly root: EnvoyNode; readonly mistakes: readonly Mistake[] } {
  const tree = parseYamlTree(text, file);
  return { root: new EnvoyNode(tree.value, { file, tree }), mistakes: tree.mistakes };
}

function typeName(url: string | undefined): string {
  return (url ?? '').slice((url ?? '').lastIndexOf('/') + 1);
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
