/**
 * Stamps: the record that a step is done, for which inputs, and which files it left. Written only after the step is
 * done and removed before it starts, so that an interrupted step is always seen as missing.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/**
 * @typedef {object} Stamps
 * @property {(step: string, inputs: string) => boolean} isFresh true when the step was done for these inputs and all
 *   that it left is still there
 * @property {(step: string, inputs: string, outputs: readonly string[]) => void} write
 * @property {(step: string) => void} remove
 */

/**
 * @param {string} dir where the stamps are kept
 * @param {string} base what the paths of outputs are relative to: a clone may be moved
 * @returns {Stamps}
 */
export function openStamps(dir, base) {
  /** @param {string} step */
  const fileOf = (step) => join(dir, step);
  return {
    isFresh(step, inputs) {
      try {
        const stamp = JSON.parse(readFileSync(fileOf(step), 'utf8'));
        return (
          stamp.inputs === inputs && stamp.outputs.every((/** @type {string} */ path) => existsSync(join(base, path)))
        );
      } catch {
        return false;
      }
    },
    write(step, inputs, outputs) {
      mkdirSync(dir, { recursive: true });
      const file = fileOf(step);
      writeFileSync(
        `${file}.new`,
        `${JSON.stringify({ inputs, outputs: outputs.map((path) => relative(base, path)) }, null, 2)}\n`,
      );
      renameSync(`${file}.new`, file);
    },
    remove(step) {
      rmSync(fileOf(step), { force: true });
    },
  };
}

/**
 * One hash over texts and over names and contents of files.
 * @param {{ base: string, files: readonly string[], texts?: readonly string[] }} inputs files are absolute; their names
 *   count relative to base
 * @returns {string}
 */
export function hashInputs({ base, files, texts = [] }) {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`text ${text.length}\n${text}\n`);
  for (const file of [...files].sort()) {
    const content = readFileSync(file);
    hash.update(`file ${relative(base, file)} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}

/**
 * All files beneath a folder.
 * @param {string} dir absolute; need not exist
 * @param {(path: string) => boolean} [wanted] called for files and folders; all when absent
 * @returns {string[]} absolute paths
 */
export function filesBeneath(dir, wanted = () => true) {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (!wanted(path)) return [];
    return entry.isDirectory() ? filesBeneath(path, wanted) : [path];
  });
}
