import type { svidgate } from '../../proto/index.ts';
import { withAdmin } from '../admin-client.ts';
import type { ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { formatStatus, statusJson } from '../status-view.ts';
import { untilInterrupted } from '../until-interrupted.ts';

type Status = svidgate.admin.v1.Status;
type Envoy = svidgate.admin.v1.ConnectedEnvoy;

/** `status`: with every connected Envoy. */
export async function showStatus(options: ClientOptions): Promise<ExitCode> {
  await withAdmin(options, async (admin) => {
    const envoys: Envoy[] = [];
    let status: Status;
    let pageToken = '';
    do {
      status = await admin.call('getStatus', { pageToken, pageSize: 1000 });
      envoys.push(...status.envoys);
      pageToken = status.nextPageToken;
    } while (pageToken !== '');
    print(status, envoys, options);
  });
  return EXIT.done;
}

/** `status --watch`: the first Envoys of a large fleet. JSON comes one object a line. */
export async function watchStatus(options: ClientOptions): Promise<ExitCode> {
  await untilInterrupted((signal) =>
    withAdmin({ ...options, signal }, async (admin) => {
      for await (const status of admin.stream('watchStatus', {})) {
        if (options.output === 'text') options.terminal.out(`--- ${new Date().toISOString()}\n`);
        print(status, status.envoys, options);
      }
    }),
  );
  return EXIT.done;
}

function print(status: Status, envoys: readonly Envoy[], { output, terminal }: ClientOptions): void {
  const text =
    output === 'json' ? `${JSON.stringify(statusJson(status, envoys))}\n` : formatStatus(status, envoys, Date.now());
  terminal.out(text);
}
