/** What operators see of the decision log and of who gets it. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../support/grpc-client.ts';
import { startOpaLogReceiver } from '../support/opa-log-receiver.ts';
import { cliOf } from '../support/run-cli.ts';
import { entriesFor, startTestServer } from '../support/server.ts';
import { waitUntil } from '../support/wait-until.ts';

interface Shown {
  readonly decision_log?: {
    readonly written: number;
    readonly lost: number;
    readonly problem?: string;
    readonly sinks: readonly { readonly delivered: number; readonly lag_records: number; readonly problem?: string }[];
  };
}

test('the status shows what is recorded, delivered and behind, and why', async () => {
  await using receiver = await startOpaLogReceiver();
  receiver.always = { kind: 'status', status: 507 };
  await using server = await startTestServer({
    entries: entriesFor('/caller'),
    config: [
      'authz:',
      '  listen: unix:./authz.sock',
      '  policies:',
      '    default: { path: ./authz.rego }',
      `decision_log: { opa: { url: '${receiver.url}', min_delay: 10ms, max_delay: 20ms } }`,
    ].join('\n'),
    files: { 'authz.rego': 'package envoy.authz\n\nallow if input.attributes.request.http.method == "GET"\n' },
  });
  const run = cliOf(server);
  using client = connect(server.gate);
  for (let count = 0; count < 5; count += 1) {
    await client.check({ attributes: { request: { http: { method: 'GET', path: `/${count}` } } } });
  }
  const shows = async (what: string, holds: (log: NonNullable<Shown['decision_log']>) => boolean): Promise<void> => {
    await waitUntil(what, 10_000, async () => {
      const { decision_log: log } = (await run.json('status')) as Shown;
      return log !== undefined && holds(log);
    });
  };
  await shows('the failing sink', ({ written, lost, sinks: [sink] }) => {
    return written === 5 && lost === 0 && sink?.delivered === 0 && sink.lag_records === 5 && sink.problem !== undefined;
  });
  const text = await run.text('status');
  assert.match(text, /^Decision log: +\S+decisions, 0\.0 MiB, 5 written, 0 lost$/m);
  assert.match(text, /^opa +0 +5, \d+ s +0 +- +the receiver answers with status 507$/m);
  receiver.always = undefined;
  await shows('the delivery', ({ sinks: [sink] }) => sink?.delivered === 5 && sink.problem === undefined);

  await rm(join(server.folder, 'data/decisions'), { recursive: true });
  await waitUntil('the loss', 10_000, async () => {
    await client.check({ attributes: { request: { http: { method: 'GET', path: '/' } } } });
    const { decision_log: log } = (await run.json('status')) as Shown;
    return log?.problem !== undefined;
  });
  assert.match(await run.text('status'), /decisions are not recorded: ENOENT/);
  const ready = await fetch(`http://${server.running.addresses.telemetry ?? ''}/ready`);
  assert.equal(ready.status, 200, 'it decides all the same');
  const { notes } = (await ready.json()) as { readonly notes?: Readonly<Record<string, string>> };
  assert.match(notes?.['decision_log'] ?? '', /decisions are not recorded/);
});
