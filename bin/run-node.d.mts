/** Hands over to another Node; the process ends as that one ends. */
export function runNode(node: string, args: readonly string[], env: NodeJS.ProcessEnv): void;
