import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { createSystemdAttestor } from '../../src/attestation/index.ts';
import { startFakeSystemd } from '../support/fake-systemd.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { waitUntil } from '../support/wait-until.ts';
import { never, processOf } from '../support/own-peer.ts';

/** A real bus with the system bus's rule that only what was asked for is answered. */
const CONFIGURATION = (
  socket: string,
): string => `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="org.freedesktop.systemd1"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.systemd1"/>
  </policy>
</busconfig>
`;

interface Bus extends AsyncDisposable {
  readonly socket: string;
}

/** Undefined where the daemon is not installed. */
async function startBus(): Promise<Bus | undefined> {
  const folder = await tempFolder();
  const socket = join(folder.path, 'bus');
  await writeFile(join(folder.path, 'bus.conf'), CONFIGURATION(socket));
  const child = spawn('dbus-daemon', ['--nofork', '--nopidfile', `--config-file=${join(folder.path, 'bus.conf')}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaint = '';
  child.stderr.on('data', (piece: Buffer) => (complaint += piece.toString()));
  const missing = once(child, 'error').then(() => 'missing' as const);
  const ended = once(child, 'close').then(() => 'ended' as const);
  const listening = waitUntil('the bus to listen', 10_000, async () => {
    const connection = createConnection(socket);
    try {
      await once(connection, 'connect');
      return 'listening' as const;
    } finally {
      connection.destroy();
    }
  });
  listening.catch(() => undefined);
  const dispose = async (): Promise<void> => {
    child.kill('SIGKILL');
    await Promise.race([ended, missing]);
    await listening.catch(() => undefined);
    await folder[Symbol.asyncDispose]();
  };
  const outcome = await Promise.race([missing, ended, listening]);
  if (outcome === 'listening') return { socket, [Symbol.asyncDispose]: dispose };
  await dispose();
  if (outcome === 'ended') throw new Error(`dbus-daemon ended: ${complaint}`);
  return undefined;
}

test('units are found over a real bus', async (t) => {
  await using bus = await startBus();
  if (bus === undefined) return t.skip('dbus-daemon is not installed (Debian: dbus)');
  const attestor = createSystemdAttestor({ busSocket: bus.socket });
  const noService = 'D-Bus error org.freedesktop.DBus.Error.ServiceUnknown';
  await assert.rejects(attestor.attest(processOf(100), never), { message: noService });
  const unit = { id: 'nginx.service', fragmentPath: '/usr/lib/systemd/system/nginx.service' };
  await using systemd = await startFakeSystemd(bus.socket, new Map([[process.pid, unit]]));
  assert.deepEqual(await attestor.attest(processOf(process.pid), never), [
    'id:nginx.service',
    'fragment_path:/usr/lib/systemd/system/nginx.service',
  ]);
  assert.deepEqual(await attestor.attest(processOf(1), never), []);
  const all = await Promise.all(Array.from({ length: 300 }, () => attestor.attest(processOf(process.pid), never)));
  assert.ok(all.every(([id]) => id === 'id:nginx.service'));
  assert.ok(systemd.senders.size > 300, 'a connection for each');
});
