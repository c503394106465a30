/** The root of the clone. */
export const root: string;
/** Caches, logs and temporary files of set-up; may be removed at any time. */
export const cacheDir: string;
/** What set-up has done, one stamp a step. */
export const stampsDir: string;
/** The virtual environment. */
export const venvDir: string;
/** The oldest Node that the project itself runs on. */
export const PROJECT_NODE: number;
/** The Node that set-up installs where the machine's own is too old; it may not be there. */
export const clonedNodePath: string;
/** True when the running Node is new enough for the project. */
export function ownNodeSuffices(): boolean;
/** The Node to run the project with. */
export function nodePath(): string;
/** The Python of the virtual environment. */
export function pythonPath(): string;
/** A file of a package in the virtual environment; undefined when it is not installed. */
export function inSitePackages(file: string): string | undefined;
/** The Envoy binary. @throws Error when it is not installed */
export function envoyPath(): string;
/** Where the older Envoy is installed. */
export const olderEnvoyDir: string;
/** The binary of the oldest Envoy that is tested with; undefined when it is not installed. */
export function olderEnvoyPath(): string | undefined;
/** The OpenBao binary. @throws Error when it is not installed */
export function baoPath(): string;
/** The Go of the virtual environment; undefined where the machine's own Go was new enough. */
export function clonedGoPath(): string | undefined;
/** The Rego compiler as a WASI program. */
export function regoCompilerPath(): string;
/** OPA's builtins as a WASI reactor. */
export function regoBuiltinsPath(): string;
