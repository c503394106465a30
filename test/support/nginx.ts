import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startLoggedChild, type LoggedChild } from './logged-child.ts';
import { waitUntil } from './wait-until.ts';

const PROGRAM = ['/usr/sbin/nginx', '/usr/local/sbin/nginx', '/usr/bin/nginx'].find((path) => existsSync(path));

/** For the option `skip` of a test. */
export const withoutNginx = PROGRAM === undefined ? 'needs nginx (on Debian: apt-get install nginx)' : false;

export interface Nginx extends AsyncDisposable {
  readonly child: LoggedChild;
}

/** One process, of this user, in the folder. `http` is what stands in the block of that name. Ready when it listens. */
export async function startNginx(folder: string, http: string, url: string): Promise<Nginx> {
  await mkdir(join(folder, 'nginx'), { recursive: true });
  const file = join(folder, 'nginx.conf');
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = `daemon off;
master_process off;
pid ${folder}/nginx/pid;
error_log stderr notice;
events {}
http {
access_log off;
${paths.map((name) => `${name}_temp_path ${folder}/nginx/${name};`).join('\n')}
${http}
}
`;
  await writeFile(file, config);
  const child = startLoggedChild({
    name: 'nginx',
    command: PROGRAM ?? '',
    args: ['-p', folder, '-c', file, '-e', 'stderr'],
    cwd: folder,
    logFile: join(folder, 'nginx.log'),
  });
  try {
    await waitUntil('nginx to answer', 10_000, async () => {
      if (!child.isRunning()) throw new Error('nginx ended');
      return await fetch(url, { signal: AbortSignal.timeout(1000) }).then(
        () => true,
        () => undefined,
      );
    });
  } catch (error) {
    await child.stop();
    throw new Error(child.log(), { cause: error });
  }
  return { child, [Symbol.asyncDispose]: async () => void (await child.stop()) };
}
