import { SvidgateError } from '../../core/index.ts';
import { REDIRECTED_SECTION, FIRST_REDIRECTED_ID } from '../builtins/redirected-natives.ts';
import { REDIRECTED_BUILTINS, REDIRECTED_PREFIX } from '../builtins/offered.ts';
import {
  concat,
  readSections,
  SECTION,
  signed,
  unsigned,
  WasmReader,
  writeSections,
  type WasmSection,
} from './wasm-sections.ts';

/** What OPA calls the functions that answer builtins in the module itself, where the name says less. */
const NATIVES: Readonly<Record<string, string>> = {
  abs: 'opa_arith_abs',
  'array.slice': 'opa_array_slice',
  'base64.decode': 'opa_base64_decode',
  'base64.is_valid': 'opa_base64_is_valid',
  'base64url.decode': 'opa_base64_url_decode',
  'bits.and': 'opa_bits_and',
  'bits.lsh': 'opa_bits_shiftleft',
  'bits.negate': 'opa_bits_negate',
  'bits.or': 'opa_bits_or',
  'bits.rsh': 'opa_bits_shiftright',
  'bits.xor': 'opa_bits_xor',
  ceil: 'opa_arith_ceil',
  concat: 'opa_strings_concat',
  div: 'opa_arith_divide',
  floor: 'opa_arith_floor',
  format_int: 'opa_strings_format_int',
  'glob.match': 'opa_glob_match',
  indexof: 'opa_strings_indexof',
  'json.filter': 'builtin_json_filter',
  'json.is_valid': 'opa_json_is_valid',
  'json.marshal': 'opa_json_marshal',
  'json.remove': 'builtin_json_remove',
  'json.unmarshal': 'opa_json_unmarshal',
  minus: 'opa_arith_minus',
  mul: 'opa_arith_multiply',
  'net.cidr_contains': 'opa_cidr_contains',
  'net.cidr_intersects': 'opa_cidr_intersects',
  'object.union_n': 'builtin_object_union_n',
  plus: 'opa_arith_plus',
  product: 'opa_agg_product',
  'regex.find_all_string_submatch_n': 'opa_regex_find_all_string_submatch',
  'regex.is_valid': 'opa_regex_is_valid',
  'regex.match': 'opa_regex_match',
  rem: 'opa_arith_rem',
  replace: 'opa_strings_replace',
  round: 'opa_arith_round',
  substring: 'opa_strings_substring',
  sum: 'opa_agg_sum',
  to_number: 'opa_to_number',
};

const LAST_FUNCTIONS = ['builtins', 'entrypoints', '_initialize'] as const;
const EXPORTS = ['eval', 'builtins', 'entrypoints', 'opa_value_dump', 'opa_value_parse', 'opa_json_parse'] as const;
const REMEDY = 'build the bundle with `opa build -t rego`, which svidgate compiles';
const ABI_VERSION = 1;
/** With opa_value_dump and opa_value_parse. */
const MIN_ABI_MINOR_VERSION = 2;
const IMPORTS = /^(?:memory|opa_abort|opa_println|opa_builtin[0-4])$/;
/** With a maximum (1) or without (0): not shared between threads, nor of 64 bits. */
const PLAIN_LIMITS: ReadonlySet<number> = new Set([0, 1]);
const FUNCREF = 0x70;
const MAX_TABLE_ELEMENTS = 65_536;
const POLICY_FUNCTION = /^g\d+\.data\./;
const KNOWN_NAMES: ReadonlySet<string> = new Set([
  ...REDIRECTED_BUILTINS.flatMap((builtin) => NATIVES[builtin] ?? []),
  ...LAST_FUNCTIONS,
]);

/**
 * A module compiled by OPA in which the builtins that OPA's modules answer otherwise than OPA itself are asked of the host: the
 * bodies of their functions are replaced. Throws `policy_invalid` for any other module, and where it cannot be told which
 * functions these are.
 */
export async function redirectNatives(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  checkInterface(await compile(bytes));
  let sections: readonly WasmSection[];
  let parts: ModuleParts;
  try {
    sections = readSections(bytes);
    parts = partsOf(sections);
  } catch (error) {
    throw unusable('it is not as OPA writes it', error);
  }
  checkVersion(parts);
  checkOrder(parts);
  const replaced = new Map<number, Uint8Array>();
  REDIRECTED_BUILTINS.forEach((builtin, index) => {
    for (const at of parts.names.get(NATIVES[builtin] ?? '') ?? []) replaced.set(at, bodyOf(parts, at, index));
  });
  const bodies = parts.bodies.map((body, index) => replaced.get(parts.importedFunctions.length + index) ?? body);
  const code = concat([unsigned(bodies.length), ...bodies.flatMap((body) => [unsigned(body.byteLength), body])]);
  const names = REDIRECTED_BUILTINS.map((builtin) => `${REDIRECTED_PREFIX}${builtin}`);
  const note = new TextEncoder().encode(JSON.stringify(replaced.size === 0 ? [] : names));
  const title = new TextEncoder().encode(REDIRECTED_SECTION);
  const redirected = writeSections([
    ...sections.map((section) => (section.id === SECTION.code ? { ...section, content: code } : section)),
    { id: SECTION.custom, content: concat([unsigned(title.byteLength), title, note]) },
  ]);
  if (!WebAssembly.validate(redirected)) throw unusable('its functions are not those of OPA');
  return redirected;
}

async function compile(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (error) {
    throw unusable('it is not WASM', error);
  }
}

function checkInterface(module: WebAssembly.Module): void {
  const imports = WebAssembly.Module.imports(module);
  const foreign = imports.find(({ module: from, name }) => from !== 'env' || !IMPORTS.test(name));
  if (foreign !== undefined) throw unusable(`it imports ${foreign.module}.${foreign.name}`);
  if (new Set(imports.map(({ name }) => name)).size < imports.length) throw unusable('it imports something twice');
  const exported = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  if (WebAssembly.Module.customSections(module, REDIRECTED_SECTION).length > 0)
    throw unusable('it was changed already');
  const missing = EXPORTS.find((name) => !exported.has(name));
  if (missing !== undefined) throw unusable(`it does not export ${missing}`);
  // The memory is that of the host, which bounds it.
  if (!imports.some(({ name, kind }) => name === 'memory' && kind === 'memory'))
    throw unusable('it does not import env.memory');
}

interface ModuleParts {
  /** Names of the imported functions, which come first. */
  readonly importedFunctions: readonly string[];
  /** How many parameters each of the module's own functions has. */
  readonly arities: readonly number[];
  readonly bodies: readonly Uint8Array[];
  /** Numbers of functions by their name, which may be that of several. Only of names that are looked for. */
  readonly names: ReadonlyMap<string, readonly number[]>;
  readonly exports: ReadonlyMap<string, number>;
  /** Values of globals that are constants of 32 bits. */
  readonly globals: readonly (number | undefined)[];
}

function partsOf(sections: readonly WasmSection[]): ModuleParts {
  const reader = (id: number): WasmReader =>
    new WasmReader(sections.find((section) => section.id === id)?.content ?? new Uint8Array([0]));
  if (sections.some(({ id }) => id === SECTION.memory)) throw new RangeError('it has a memory of its own');
  checkTables(reader(SECTION.table));
  const types = readTypes(reader(SECTION.type));
  const code = reader(SECTION.code);
  const functions = reader(SECTION.function);
  const importedFunctions = readImports(reader(SECTION.import));
  const bodies = code.list(() => code.take(code.unsigned()));
  return {
    importedFunctions,
    arities: functions.list(() => types[functions.unsigned()] ?? 0),
    bodies,
    names: readNames(sections, importedFunctions.length + bodies.length),
    exports: readExports(reader(SECTION.export)),
    globals: readGlobals(reader(SECTION.global)),
  };
}

/** Numbers of parameters. */
function readTypes(reader: WasmReader): readonly number[] {
  return reader.list(() => {
    if (reader.byte() !== 0x60) throw new RangeError('a type is no function');
    const parameters = reader.list(() => reader.byte());
    reader.list(() => reader.byte());
    return parameters.length;
  });
}

function readImports(reader: WasmReader): readonly string[] {
  const functions: string[] = [];
  reader.list(() => {
    reader.text();
    const name = reader.text();
    switch (reader.byte()) {
      case 0:
        reader.unsigned();
        return functions.push(name);
      case 2:
        return readLimits(reader);
      default:
        throw new RangeError('it imports more than functions and memory');
    }
  });
  return functions;
}

/** The smallest size, and the largest, if there is one. */
function readLimits(reader: WasmReader): readonly number[] {
  const kind = reader.byte();
  if (!PLAIN_LIMITS.has(kind)) throw new RangeError('its memory or its table is not a plain one');
  const smallest = reader.unsigned();
  return kind === 1 ? [smallest, reader.unsigned()] : [smallest];
}

function checkTables(reader: WasmReader): void {
  const tables = reader.list(() => {
    if (reader.byte() !== FUNCREF) throw new RangeError('a table holds something else than functions');
    return readLimits(reader);
  });
  if (tables.length > 1 || tables.flat().some((size) => size > MAX_TABLE_ELEMENTS))
    throw new RangeError('its tables are too large');
}

function readExports(reader: WasmReader): ReadonlyMap<string, number> {
  return new Map(
    reader.list(() => {
      const name = reader.text();
      reader.byte();
      return [name, reader.unsigned()] as const;
    }),
  );
}

function readGlobals(reader: WasmReader): readonly (number | undefined)[] {
  return reader.list(() => {
    reader.take(2);
    if (reader.byte() !== 0x41) throw new RangeError('a global is no constant');
    const value = reader.unsigned();
    if (reader.byte() !== 0x0b) throw new RangeError('a global is no constant');
    return value;
  });
}

/** The second part of the section `name`, whose numbers rise. */
function readNames(sections: readonly WasmSection[], functions: number): ReadonlyMap<string, readonly number[]> {
  const names = new Map<string, number[]>();
  let last = -1;
  for (const { content } of sections.filter(({ id }) => id === SECTION.custom)) {
    const section = new WasmReader(content);
    if (section.text() !== 'name') continue;
    while (!section.isAtEnd) {
      const kind = section.byte();
      const part = new WasmReader(section.take(section.unsigned()));
      if (kind !== 1) continue;
      part.list(() => {
        const index = part.unsigned();
        if (index <= last || index >= functions) throw new RangeError('its names are not those of its functions');
        last = index;
        addName(names, part.text(), index);
      });
    }
  }
  return names;
}

function addName(names: Map<string, number[]>, name: string, index: number): void {
  if (!KNOWN_NAMES.has(name) && !POLICY_FUNCTION.test(name)) return;
  const known = names.get(name);
  if (known === undefined) names.set(name, [index]);
  else known.push(index);
}

function checkVersion({ exports, globals }: ModuleParts): void {
  const version = globals[exports.get('opa_wasm_abi_version') ?? -1];
  const minor = globals[exports.get('opa_wasm_abi_minor_version') ?? -1] ?? 0;
  if (version === ABI_VERSION && minor >= MIN_ABI_MINOR_VERSION) return;
  throw unusable(`version ${version ?? 0}.${minor} of its interface is not supported`);
}

/**
 * OPA puts the policy's own functions behind those of its runtime, and these three behind them. An optimizer that is put behind
 * OPA's compiler merges functions into those that call them, and orders them anew.
 */
function checkOrder({ exports, importedFunctions, bodies, names }: ModuleParts): void {
  const first = importedFunctions.length + bodies.length - LAST_FUNCTIONS.length;
  const areLast = LAST_FUNCTIONS.every((name, at) => names.get(name)?.includes(first + at) === true);
  const areExported = exports.get('builtins') === first && exports.get('entrypoints') === first + 1;
  const isPolicy = [...names].some(([name, at]) => POLICY_FUNCTION.test(name) && at.includes(first - 1));
  if (areLast && areExported && isPolicy) return;
  throw unusable('its functions are without names, or were changed by an optimizer');
}

/** Calls the host with the number of the builtin, no context, and its own arguments. */
function bodyOf({ arities, importedFunctions }: ModuleParts, at: number, index: number): Uint8Array {
  const arity = arities[at - importedFunctions.length] ?? -1;
  const dispatcher = importedFunctions.indexOf(`opa_builtin${arity}`);
  if (dispatcher === -1) throw unusable(`${REDIRECTED_BUILTINS[index] ?? ''} cannot be asked of the host`);
  const call = [0x10, ...unsigned(dispatcher)];
  const parameters = Array.from({ length: arity }, (_, parameter) => [0x20, ...unsigned(parameter)]).flat();
  return concat([[0], [0x41, ...signed(FIRST_REDIRECTED_ID + index), 0x41, 0], parameters, call, [0x0b]]);
}

function unusable(reason: string, cause?: unknown): SvidgateError {
  return new SvidgateError('policy_invalid', `the bundle's compiled module cannot be used: ${reason}; ${REMEDY}`, {
    cause,
  });
}
