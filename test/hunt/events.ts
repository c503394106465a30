/** Faults and changes that come while requests fly. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Worker } from 'node:worker_threads';
import { PLAIN_CASE, type Case } from './case.ts';
import { id } from './people.ts';
import { SWAPPED } from './policies.ts';
import type { Random } from './random.ts';
import type { Change } from './timeline.ts';
import type { World } from './world.ts';

export interface Event {
  readonly name: string;
  /** Those of one kind come one after the other: policies take long. */
  readonly kind: 'policy' | 'other';
  /** Gives cases to be asked all at once. `meanwhile` resolves when some checks more were asked. */
  readonly run: (world: World, random: Random, meanwhile: () => Promise<void>) => Promise<readonly Case[]>;
}

/** The threads of this process that evaluate policies, so that some can be killed: none of our code knows of it. */
export interface Threads extends Disposable {
  killOne(random: Random): void;
}

export function watchThreads(): Threads {
  const living = new Set<Worker>();
  const add = (message: unknown): void => {
    const { worker } = message as { readonly worker: Worker & { readonly threadName: string } };
    if (worker.threadName !== 'svidgate evaluator-worker') return;
    living.add(worker);
    worker.once('exit', () => living.delete(worker));
  };
  subscribe('worker_threads', add);
  return {
    killOne(random) {
      if (living.size > 0) void random.pick([...living]).terminate();
    },
    [Symbol.dispose]: () => unsubscribe('worker_threads', add),
  };
}

const HOUR = 3600_000;

const changes: Readonly<Record<string, (random: Random) => Change>> = {
  'somebody is revoked': (random) => ({ revokedIds: [id(random.pick(['alice', 'bob', 'client', 'gateway']))] }),
  'a serial is revoked': (random) => ({ revokedCertificates: [random.pick(['alice', 'bob', 'gateway'])] }),
  'roots are replaced': (random) => ({
    roots: random.pick([['second'], ['first', 'second'], ['first', 'second', 'partner'], []]),
  }),
  'keys of the issuer are replaced': (random) => ({ tokenKeys: random.pick([['next'], ['issuer', 'next']]) }),
  'the caller has no entry': () => ({ hasCaller: false }),
  'a peer has no entry': (random) => ({ unregistered: [id(random.pick(['alice', 'carol', 'gateway']))] }),
  'the clock is set': (random) => ({ clockMs: random.pick([2 * HOUR, 7 * HOUR]) }),
};

/** Back to what most cases are meant for. */
export const MENDED: Change = {
  roots: ['first', 'partner'],
  tokenKeys: ['issuer'],
  revokedIds: [],
  revokedCertificates: [],
  hasCaller: true,
  unregistered: [],
  clockMs: 0,
};

export function makeEvents(threads: Threads): readonly Event[] {
  const change = (name: string, make: (random: Random) => Change): Event => ({
    name,
    kind: 'other',
    async run(world, random, meanwhile) {
      const made = make(random);
      await world.change(made);
      await meanwhile();
      // Some last, so that others come on top of them.
      if (!random.oneIn(5) || made.hasCaller === false) await world.change(MENDED);
      return [];
    },
  });
  const kill: Event = {
    name: 'a thread ends',
    kind: 'other',
    run(_, random) {
      threads.killOne(random);
      return Promise.resolve([]);
    },
  };
  const swap: Event = {
    name: 'a policy is replaced',
    kind: 'policy',
    async run(world, random) {
      await world.swap(random.pick(SWAPPED), random.below(2));
      return [];
    },
  };
  const damage: Event = {
    name: 'a policy is damaged',
    kind: 'policy',
    async run(world, random) {
      await world.damage(random.pick(['rules', 'faulty'] as const));
      return [];
    },
  };
  const burst: Event = {
    name: 'the queue is full',
    kind: 'other',
    run: () =>
      Promise.resolve(
        Array.from({ length: 150 }, (_, number): Case => {
          return number % 2 === 0 ? FAULTY : { ...FAULTY, headers: [['x-open', `not ${number}`]] };
        }),
      ),
  };
  const stuck: Event = {
    name: 'an evaluation does not end',
    kind: 'other',
    run: (_, random) => Promise.resolve([{ ...FAULTY, path: random.pick(['/spin', '/grow']) }]),
  };
  const made = Object.entries(changes).map(([name, make]) => change(name, make));
  return [...made, ...made, kill, kill, kill, swap, damage, burst, burst, stuck];
}

const FAULTY: Case = { ...PLAIN_CASE, extensions: [['svidgate.policy', 'faulty']], headers: [['x-open', 'sesame']] };
