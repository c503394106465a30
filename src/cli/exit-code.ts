/** What a command tells the shell. */
export const EXIT = { done: 0, failed: 1, wrongUsage: 2 } as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
