/**
 * Keeps the layers of src/: which room may import which, that a room is entered by its index.ts only, and which packages
 * belong to one room. Type-only imports count too: they are a dependency of the reader.
 */

/** One import that breaks a rule. */
export interface LayerViolation {
  /** Relative to the root of the clone. */
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** A source file, with its path relative to the root of the clone. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

interface Import {
  readonly specifier: string;
  readonly line: number;
}

/** Bottom up. A room imports from the layers before its own; `endpoints` stands for each folder beneath it. */
const LAYERS: readonly (readonly string[])[] = [
  ['core'],
  ['pki', 'proto', 'telemetry', 'spiffe'],
  ['config', 'datastore', 'policy', 'transport', 'authoring'],
  ['authority', 'registration', 'attestation', 'federation'],
  ['identity', 'peer', 'secrets', 'evidence', 'offload'],
  ['gate', 'discovery'],
  ['endpoints'],
  ['server'],
  ['cli'],
];

/** Imports inside one layer. */
const WITHIN_LAYER: Readonly<Record<string, readonly string[]>> = {
  spiffe: ['pki'],
  authoring: ['config'],
  policy: ['authoring'],
};

/** Lower rooms that a room must reach through others. */
const FORBIDDEN: Readonly<Record<string, readonly string[]>> = {
  endpoints: ['datastore', 'config'],
  gate: ['datastore', 'config'],
  discovery: ['datastore', 'config'],
};

/** The rooms that may import a package; one that ends with a slash is a whole scope. */
const PACKAGE_OWNERS: Readonly<Record<string, readonly string[]>> = {
  jose: ['pki', 'spiffe'],
  '@peculiar/x509': ['pki'],
  'reflect-metadata': ['pki'],
  protobufjs: ['proto'],
  long: ['proto'],
  pino: ['telemetry'],
  'prom-client': ['telemetry'],
  '@opentelemetry/': ['telemetry'],
  zod: ['config'],
  yaml: ['config'],
  kysely: ['datastore'],
  pg: ['datastore'],
  'node:sqlite': ['datastore'],
  '@open-policy-agent/opa-wasm': ['policy'],
  'tar-stream': ['policy'],
  'node:wasi': ['policy'],
  '@grpc/grpc-js': ['transport'],
  hono: ['transport'],
  '@hono/': ['transport'],
  koffi: ['attestation', 'authority'],
  commander: ['cli'],
};

/**
 * All violations, in the order of the files.
 */
export function layerViolations(files: readonly SourceFile[]): LayerViolation[] {
  return files.flatMap(({ path, text }) =>
    importsOf(text).flatMap(({ specifier, line }) => {
      const message = violationOf(path, specifier);
      return message === undefined ? [] : [{ file: path, line, message }];
    }),
  );
}

/**
 * The specifiers of all imports, re-exports and import() calls and types, and of workers by `new URL(…,
 * import.meta.url)`.
 */
export function importsOf(text: string): Import[] {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, ' '));
  const patterns = [
    /^[ \t]*(?:import|export)\b[^'"`;=()]*\bfrom\s*(?<quote>['"])(?<specifier>[^'"\n]+)\k<quote>/gm,
    /^[ \t]*import\s*(?<quote>['"])(?<specifier>[^'"\n]+)\k<quote>/gm,
    /\bimport\s*\(\s*(?<quote>['"`])(?<specifier>[^'"`\n]+)\k<quote>/g,
    /\bnew URL\(\s*(?<quote>['"])(?<specifier>\.[^'"\n]+\.ts)\k<quote>\s*,\s*import\.meta\.url/g,
  ];
  return patterns
    .flatMap((pattern) => [...code.matchAll(pattern)])
    .sort((a, b) => a.index - b.index)
    .map((match) => {
      const specifier = match.groups?.['specifier'] ?? '';
      const at = match.index + match[0].lastIndexOf(specifier);
      return { specifier, line: code.slice(0, at).split('\n').length };
    });
}

function violationOf(path: string, specifier: string): string | undefined {
  const from = roomOf(path);
  if (from === undefined || layerOf(from) === -1) return `${path} is in no room of the layer table`;
  if (!specifier.startsWith('.')) return packageViolation(from, specifier);
  const target = resolvePath(path, specifier);
  const to = roomOf(target);
  if (to === undefined) return `${from} imports ${target}, which is in no room of src/`;
  if (to === from) return undefined;
  return roomViolation(from, to) ?? doorViolation(from, to, target);
}

function roomViolation(from: string, to: string): string | undefined {
  if (layerOf(to) === -1) return `${from} imports ${to}, which is not in the layer table`;
  if (kindOf(from) === 'endpoints' && kindOf(to) === 'endpoints')
    return `${from} imports ${to}: endpoints never import one another`;
  if (FORBIDDEN[kindOf(from)]?.includes(kindOf(to)) === true) return `${from} never imports ${to}`;
  if (WITHIN_LAYER[from]?.includes(to) === true || layerOf(to) < layerOf(from)) return undefined;
  return `${from} (layer ${layerOf(from)}) imports ${to} (layer ${layerOf(to)}): only lower layers are allowed`;
}

function doorViolation(from: string, to: string, target: string): string | undefined {
  return target === `src/${to}/index.ts` ? undefined : `${from} imports ${target}: only through src/${to}/index.ts`;
}

function packageViolation(from: string, specifier: string): string | undefined {
  const name = packageOf(specifier);
  const owners = PACKAGE_OWNERS[name] ?? PACKAGE_OWNERS[`${name.split('/')[0]}/`];
  if (owners === undefined) {
    return name.startsWith('node:')
      ? undefined
      : `${from} imports ${name}, which tools/check/layers.ts gives to no room`;
  }
  return owners.includes(kindOf(from))
    ? undefined
    : `${from} imports ${name}, which belongs to ${owners.join(' and ')}`;
}

/** `pki` of `src/pki/pem.ts`, `endpoints/sds` of `src/endpoints/sds/stream.ts`; undefined outside of any room. */
function roomOf(path: string): string | undefined {
  const [src, room, second, third] = path.split('/');
  if (src !== 'src' || room === undefined || second === undefined) return undefined;
  if (room !== 'endpoints') return room;
  return third === undefined ? undefined : `endpoints/${second}`;
}

function kindOf(room: string): string {
  return room.split('/')[0] ?? room;
}

function layerOf(room: string): number {
  return LAYERS.findIndex((rooms) => rooms.includes(kindOf(room)));
}

function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function resolvePath(from: string, specifier: string): string {
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}
