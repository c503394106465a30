import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tempFolder } from './temp-folder.ts';

const run = promisify(execFile);

const MODULES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
] as const;

const UTILITY = ['/usr/bin/softhsm2-util', '/usr/local/bin/softhsm2-util'].find((path) => existsSync(path));

/** SoftHSM's PKCS #11 module, or the empty string where it is not installed. */
export const softHsmModule = MODULES.find((path) => existsSync(path)) ?? '';

/** For the option `skip` of a test. */
export const withoutSoftHsm =
  softHsmModule === '' || UTILITY === undefined ? 'needs SoftHSM (on Debian: apt-get install softhsm2)' : false;

/** A folder with tokens, which the environment of this process names until it is disposed of. */
export interface SoftHsm extends AsyncDisposable {
  /** Where the tokens are; moved away, they are out of reach. */
  readonly tokens: string;
  readonly pin: string;
  /** Puts a token with that label into the next free slot. */
  addToken(label: string): Promise<void>;
}

/** Begins with one token. One at a time in a process: SoftHSM finds its folder by a variable of the environment. */
export async function startSoftHsm(label: string): Promise<SoftHsm> {
  const folder = await tempFolder();
  const [tokens, config] = [join(folder.path, 'tokens'), join(folder.path, 'softhsm2.conf')];
  await mkdir(tokens);
  await writeFile(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  process.env['SOFTHSM2_CONF'] = config;
  const pin = '4711-pin-of-this-test';
  const hsm: SoftHsm = {
    tokens,
    pin,
    async addToken(name) {
      await run(UTILITY ?? '', ['--init-token', '--free', '--label', name, '--pin', pin, '--so-pin', 'so-4711']);
    },
    async [Symbol.asyncDispose]() {
      Reflect.deleteProperty(process.env, 'SOFTHSM2_CONF');
      await folder[Symbol.asyncDispose]();
    },
  };
  await hsm.addToken(label);
  return hsm;
}
