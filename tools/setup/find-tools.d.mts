/** Versions with numbers between dots; true when the first is not older. */
export function isAtLeast(version: string, oldest: string): boolean;
/** All programs of a name in PATH, in its order. */
export function inPath(name: string): string[];
/** A Go that can build the Rego compiler, if there is one. */
export function findGo(): { path: string; version: string } | undefined;
/** A Python that can make virtual environments with pip in them. */
export function findPython(): { path: string; version: string } | { missing: string };
/** npm, from PATH. */
export function findNpm(): { path: string } | { missing: string };
/** The version that tools/rego-compiler/go.mod asks for. */
export function wantedGoVersion(): string;
/** The machine's own Go, where it is new enough for the Rego compiler. */
export function findMachineGo(): { path: string; version: string } | undefined;
