/**
 * `node tools/setup/complete-lockfile.mjs`, after any `npm install`: adds to package-lock.json the optional packages of
 * other platforms that npm leaves out when the registry it asked does not carry them. Without them `npm ci` refuses the
 * lockfile as not in sync, also on platforms that never install them. Changes nothing in a complete lockfile.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './paths.mjs';

const OSES = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'];
const CPUS = ['arm', 'arm64', 'ia32', 'ppc64', 'riscv64', 's390x', 'x64'];

/**
 * The platform that a package is for, from its name: `@scope/binding-linux-x64-musl`.
 * @param {string} name
 * @returns {{ os: string[], cpu: string[], libc?: string[] }}
 */
function platformOf(name) {
  const words = name.split(/[/-]/);
  const os = words.find((word) => OSES.includes(word));
  const cpu = words.find((word) => CPUS.includes(word));
  if (os === undefined || cpu === undefined) throw new Error(`cannot tell the platform of ${name}: add it by hand`);
  const last = /** @type {string} */ (words.at(-1));
  const libc =
    os === 'linux' && last.startsWith('musl')
      ? ['musl']
      : os === 'linux' && last.startsWith('gnu')
        ? ['glibc']
        : undefined;
  return { os: [os], cpu: [cpu], ...(libc === undefined ? {} : { libc }) };
}

const file = join(root, 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));
const added = [];
for (const { dev, license, optionalDependencies } of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (key in lock.packages) continue;
    lock.packages[key] = { version, ...(dev ? { dev } : {}), license, optional: true, ...platformOf(name) };
    added.push(`${name}@${version}`);
  }
}
if (added.length > 0) {
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
  lock.packages = Object.fromEntries(sorted);
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
}
console.log(added.length === 0 ? 'package-lock.json is complete' : `added ${added.length}:\n${added.join('\n')}`);
