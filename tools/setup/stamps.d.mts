/** The record of the steps that are done. */
export interface Stamps {
  isFresh(step: string, inputs: string): boolean;
  write(step: string, inputs: string, outputs: readonly string[]): void;
  remove(step: string): void;
}
export function openStamps(dir: string, base: string): Stamps;
export function hashInputs(inputs: { base: string; files: readonly string[]; texts?: readonly string[] }): string;
export function filesBeneath(dir: string, wanted?: (path: string) => boolean): string[];
