import type { Figure } from '../benchmark.ts';
import { IMPORT_MODE } from '../parts/admin-client.ts';
import { TRUST_DOMAIN } from '../parts/bench-server.ts';
import type { Protocol } from '../parts/discovery-wire.ts';
import { median } from '../statistics.ts';
import { quiet, type Group } from './fleet.ts';
import type { Client, Scene } from './scene.ts';

const SIZES = {
  full: { names: 20, rounds: 5 },
  quick: { names: 3, rounds: 1 },
};

const PROTOCOLS: readonly Protocol[] = ['sotw', 'delta'];

const WHAT = { sotw: 'state of the world', delta: 'delta' } as const satisfies Record<Protocol, string>;

/** What one renewed SVID sends to an Envoy that asks for it alone, and to one with many names on the same stream (ADS, gateways). */
export async function measureRotationBytes(scene: Scene): Promise<readonly Figure[]> {
  const { names: count, rounds } = SIZES[scene.context.size];
  const [client] = scene.callers;
  if (client === undefined) throw new Error('there is no caller');
  const entries = Array.from({ length: count }, (_, index) => ({
    entryId: `rotated-${index}`,
    spiffeId: `spiffe://${TRUST_DOMAIN}/rotated/${index}`,
    selectors: client.selectors,
  }));
  await scene.admin.call('importEntries', { entries, mode: IMPORT_MODE.create });
  const ids = entries.map(({ spiffeId }) => spiffeId);
  const figures: Figure[] = [];
  for (const names of [ids.slice(0, 1), [...ids, 'ROOTCA']]) {
    for (const protocol of PROTOCOLS) {
      scene.context.progress(`bytes of a renewed SVID, ${names.length} names on a stream, ${WHAT[protocol]}`);
      const bytes = await bytesOfRotations(scene, client, { names, protocol, rounds });
      figures.push({
        name: `rotation_bytes_${names.length}_names_${protocol}`,
        value: median(bytes),
        meaning: `one SVID renewed on a stream with ${names.length} names: bytes received, ${WHAT[protocol]}`,
      });
    }
  }
  for (const { entryId } of entries) await scene.admin.call('deleteEntry', { entryId });
  return figures;
}

async function bytesOfRotations(
  scene: Scene,
  { worker }: Client,
  asked: { readonly names: readonly string[]; readonly protocol: Protocol; readonly rounds: number },
): Promise<readonly number[]> {
  const { names, protocol, rounds } = asked;
  const group: Group = { worker, connections: [[names]] };
  const fleet = 'rotated';
  await worker.ask('open', { fleet, socket: scene.sockets.own, protocol, connections: group.connections });
  await quiet([group]);
  const bytes: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await worker.ask('arm', fleet);
    const entry = { dnsNames: [`${protocol}-${names.length}-${round}.bench.test`] };
    await scene.admin.call('updateEntry', { entryId: 'rotated-0', entry, updateFields: ['dns_names'] });
    bytes.push((await worker.ask('arrivals', fleet)).bytes);
    await quiet([group]);
    scene.unneeded += await worker.ask('unneeded', { fleet, awaited: true });
  }
  await worker.ask('close', fleet);
  return bytes;
}
