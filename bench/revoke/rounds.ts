import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { nodePath, root } from '../../tools/setup/paths.mjs';
import { sharedClockMs } from '../parts/measure.ts';
import type { Sent } from '../parts/revoked-worker.ts';
import { SIZES, type Scene, type Service } from './scene.ts';

/** What takes an identity away. */
export interface Means {
  readonly name: 'serial' | 'spiffe_id' | 'entry' | 'command';
  readonly what: string;
  readonly rounds: keyof (typeof SIZES)['full'];
  /** Gives what undoes it. */
  take(scene: Scene, service: Service): Promise<() => Promise<unknown>>;
}

/** One identity taken away. Times in milliseconds from just before the call. */
export interface Round {
  /** To the first answer with a deny at the service. */
  readonly deniedMs: number;
  /** To the answer of the call. */
  readonly answeredMs: number;
  /** Requests that were sent after the call had answered, and were allowed. */
  readonly allowedAfter: number;
  /** All that were sent after it had answered. */
  readonly sentAfter: number;
}

const NO_REASON = 1;

/** What follows an undoing, such as another revocation list for hundreds of Envoys, belongs to it and not to the next round. */
const QUIET_MS = 100;

export const MEANS: readonly Means[] = [
  {
    name: 'serial',
    what: 'SVID revoked by its serial',
    rounds: 'rounds',
    take: (scene, { serial }) => revoke(scene, { serial }),
  },
  {
    name: 'spiffe_id',
    what: 'SPIFFE ID revoked',
    rounds: 'rounds',
    take: (scene, { entry }) => revoke(scene, { spiffeId: entry.spiffeId }),
  },
  {
    name: 'entry',
    what: 'last entry deleted, with `deny_unregistered`',
    rounds: 'rounds',
    async take({ admin }, { entry }) {
      await admin.call('deleteEntry', { entryId: entry.entryId });
      return () => admin.call('createEntry', { entry });
    },
  },
  {
    name: 'command',
    what: '`svidgate svid revoke --serial`, from the start of its process',
    rounds: 'programRounds',
    take: (scene, { serial }) => revokeByCommand(scene, serial),
  },
];

async function revoke(
  { admin }: Scene,
  target: { readonly serial: string } | { readonly spiffeId: string },
): Promise<() => Promise<unknown>> {
  const { revocationId } = await admin.call('revoke', { ...target, reason: NO_REASON });
  return () => admin.call('undoRevocation', { revocationId });
}

async function revokeByCommand({ admin, server }: Scene, serial: string): Promise<() => Promise<unknown>> {
  const config = join(server.folder, 'svidgate.yaml');
  const args = ['svid', 'revoke', '--serial', serial, '--config', config, '--output', 'json'];
  const { stdout } = await promisify(execFile)(nodePath(), [join(root, 'bin/svidgate.mjs'), ...args]);
  const { revocation_id: revocationId } = JSON.parse(stdout) as { readonly revocation_id: string };
  return () => admin.call('undoRevocation', { revocationId });
}

/** One identity after the other is taken away while its service sends, and given back. */
export async function takeAway(scene: Scene, means: Means): Promise<readonly Round[]> {
  const count = SIZES[scene.context.size][means.rounds];
  scene.context.progress(`${means.what}, ${count} times`);
  const rounds: Round[] = [];
  for (let round = 0; round < count; round += 1) {
    const service = scene.services[round % scene.services.length]!;
    await scene.sender.ask('begin', service.number);
    const beganAt = sharedClockMs();
    const undo = await means.take(scene, service);
    const answeredAt = sharedClockMs();
    const sent = await scene.sender.ask('end', { service: service.number, after: answeredAt });
    await undo();
    await pause(QUIET_MS);
    rounds.push(roundOf(sent, beganAt, answeredAt));
  }
  return rounds;
}

function roundOf(sent: readonly Sent[], beganAt: number, answeredAt: number): Round {
  const denied = sent.filter(({ status }) => status !== 200).map((one) => one.answeredAt);
  if (denied.length === 0) throw new Error('a service that lost its identity is not denied');
  const first = Math.min(...denied);
  if (first < beganAt) throw new Error('a service is denied that has its identity');
  const after = sent.filter(({ sentAt }) => sentAt > answeredAt);
  return {
    deniedMs: first - beganAt,
    answeredMs: answeredAt - beganAt,
    allowedAfter: after.filter(({ status }) => status === 200).length,
    sentAfter: after.length,
  };
}
