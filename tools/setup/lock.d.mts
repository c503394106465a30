export function acquireLock(
  file: string,
  options?: { signal?: AbortSignal; onWait?: (pid: number) => void },
): Promise<() => void>;
