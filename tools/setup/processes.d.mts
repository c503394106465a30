/** A pid with the start time of its process; undefined when there is no such process. */
export function processIdentity(pid: number): string | undefined;
/** True while that very process runs. */
export function isRunning(identity: string): boolean;
export function signalGroup(groupId: number, signal: NodeJS.Signals): void;
export function recordGroup(dir: string, groupId: number): () => void;
export function endLeftoverGroups(dir: string): number;
