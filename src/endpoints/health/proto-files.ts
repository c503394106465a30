import { PROTO_FILES, type ProtoFile } from '../../proto/index.ts';

/** The .proto files of some services, and what these import. */
export class ProtoFiles {
  readonly #byName = new Map<string, ProtoFile>();
  readonly #bySymbol = new Map<string, ProtoFile>();
  readonly #all = new Map(PROTO_FILES.map((file) => [file.name, file]));

  /** @param services full names; one that no file declares is an error of ours */
  constructor(services: readonly string[]) {
    for (const service of services) {
      const file = PROTO_FILES.find(({ symbols }) => symbols.includes(service));
      if (file === undefined) throw new Error(`protos/ has no service ${service}`);
      this.#add(file);
    }
    for (const file of this.#byName.values()) for (const symbol of file.symbols) this.#bySymbol.set(symbol, file);
  }

  /** The file that declares a service, method, message, field or enum. */
  ofSymbol(symbol: string): ProtoFile | undefined {
    return this.#bySymbol.get(symbol);
  }

  named(name: string): ProtoFile | undefined {
    return this.#byName.get(name);
  }

  /** The file and all that it imports, each once. */
  withImports(file: ProtoFile, found: Set<ProtoFile> = new Set()): ReadonlySet<ProtoFile> {
    if (found.has(file)) return found;
    found.add(file);
    for (const name of file.imports) {
      const imported = this.#byName.get(name);
      if (imported !== undefined) this.withImports(imported, found);
    }
    return found;
  }

  #add(file: ProtoFile): void {
    if (this.#byName.has(file.name)) return;
    this.#byName.set(file.name, file);
    for (const name of file.imports) {
      const imported = this.#all.get(name);
      if (imported === undefined) throw new Error(`${file.name} imports ${name}, which is not in protos/`);
      this.#add(imported);
    }
  }
}
