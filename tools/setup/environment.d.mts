/** Where commands put their temporary files. */
export const temporaryDir: string;
/** For the scripts of the project: its Node and the commands of its packages first in PATH. */
export function scriptEnvironment(): NodeJS.ProcessEnv;
/** For npm, Node and Python. */
export function commandEnvironment(): NodeJS.ProcessEnv;
/** For the go command: modules, build cache and telemetry in the clone. */
export function goEnvironment(go: string): NodeJS.ProcessEnv;
/** Flags for the commands of Go that build. */
export const goBuildFlags: readonly string[];
