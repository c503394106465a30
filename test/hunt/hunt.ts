/**
 * The hunt for an allow that no policy gives: cases by the thousand, faults while they are under way, and for each answer a
 * second reading of what was asked. See reading.ts for what is right, world.ts for what is asked.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PLAIN_CASE, type Case } from './case.ts';
import { makeEvents, type Event, type Threads } from './events.ts';
import { drawCase } from './generate.ts';
import { createRandom } from './random.ts';
import { mayAllow, mustAllow, see, type Seen } from './reading.ts';
import { seeBytes } from './read-request.ts';
import { readReply, type Verdict } from './reply.ts';
import type { Moment } from './timeline.ts';
import { encodeCase } from './wire.ts';
import type { World } from './world.ts';

export interface Failure {
  readonly what: 'false_allow' | 'not_explicit' | 'late' | 'wrong_deny';
  readonly why: string;
  /** As one line of JSON it is asked again by `node test/hunt/replay.ts`. */
  readonly drawn: Case;
  /** What was the case when it was answered; missing where that was not one check. */
  readonly at?: Moment | undefined;
}

export interface HuntResult {
  readonly checks: number;
  readonly allows: number;
  /** How often, by the reason of a deny. */
  readonly denies: ReadonlyMap<string, number>;
  readonly events: ReadonlyMap<string, number>;
  readonly failures: readonly Failure[];
}

export interface HuntOptions {
  readonly seed: number;
  readonly checks: number;
  /** Checks between two events. Default 150. */
  readonly eventEvery?: number;
  /** Names of those that may come. Default: all. */
  readonly events?: readonly string[] | undefined;
  /** Ends the hunt. Default 10. */
  readonly maxFailures?: number;
  /** Whether the gate is shut down at the end. Default true. */
  readonly shutsDown?: boolean;
  /** Whether all callers are proven and stay, as over a Unix socket. Default false. */
  readonly isOneCaller?: boolean;
}

const IN_FLIGHT = 32;
/** How many checks a change lasts. */
const MEANWHILE = 60;
/** Of these a late answer counts: with less time than that it is the machine that is late. */
const LATE_FROM_MS = 1000;

/** `threads`: those of the world. */
export async function hunt(world: World, threads: Threads, options: HuntOptions): Promise<HuntResult> {
  const plan = makeEvents(threads).filter(({ name }) => options.events?.includes(name) ?? true);
  return await new Hunt(world, plan, options).run();
}

/** Asks this case alone, and gives what is wrong with its answer. */
export async function askAgain(drawn: Case, world: World): Promise<Failure | undefined> {
  return await new Hunt(world, [], { seed: 0, checks: 0 }).one(drawn);
}

class Hunt {
  readonly #world: World;
  readonly #options: HuntOptions;
  readonly #plan: readonly Event[];
  readonly #denies = new Map<string, number>();
  readonly #events = new Map<string, number>();
  readonly #failures: Failure[] = [];
  /** By token that is good for one use. */
  readonly #uses = new Map<string, number>();
  readonly #open = new Set<Promise<void>>();
  readonly #running = new Map<Event['kind'], Promise<void>>();
  readonly #delays = monitorEventLoopDelay({ resolution: 10 });
  #checks = 0;
  #allows = 0;

  constructor(world: World, plan: readonly Event[], options: HuntOptions) {
    this.#world = world;
    this.#plan = plan;
    this.#options = options;
  }

  async run(): Promise<HuntResult> {
    const { seed, checks, eventEvery = 150, maxFailures = 10 } = this.#options;
    const { cast } = this.#world;
    this.#delays.enable();
    for (let index = 0; index < checks && this.#failures.length < maxFailures; index += 1) {
      if (index % eventEvery === eventEvery - 1) this.#begin(index);
      // Checks that are denied at once leave no room for timers and sockets otherwise.
      if (index % 8 === 0) await nextTurn();
      await this.#room();
      this.#ask(drawCase(seed, index, cast));
    }
    await Promise.all(this.#running.values());
    if (this.#options.shutsDown ?? true) await this.#shutDown();
    await Promise.all(this.#open);
    this.#delays.disable();
    for (const [name, uses] of this.#uses) {
      if (uses > 1) this.#fail('false_allow', `${uses} uses of one token`, { ...PLAIN_CASE, token: name });
    }
    return {
      checks: this.#checks,
      allows: this.#allows,
      denies: this.#denies,
      events: this.#events,
      failures: this.#failures,
    };
  }

  /** What is open when the gate stops is answered, and what comes later, too. */
  async #shutDown(): Promise<void> {
    const { seed, checks } = this.#options;
    const { cast } = this.#world;
    for (let index = 0; index < IN_FLIGHT; index += 1) this.#ask(drawCase(seed, checks + index, cast));
    await Promise.all([this.#world.shutDown(), ...this.#open]);
    for (let index = 0; index < IN_FLIGHT; index += 1) this.#ask(drawCase(seed, checks + index, cast));
  }

  async one(drawn: Case): Promise<Failure | undefined> {
    await this.#check(drawn);
    return this.#failures[0];
  }

  #begin(index: number): void {
    const random = createRandom(this.#options.seed ^ 0x5eed, index);
    const event = random.pick(this.#plan);
    if (this.#running.has(event.kind)) return;
    this.#events.set(event.name, (this.#events.get(event.name) ?? 0) + 1);
    const run = async (): Promise<void> => {
      for (const drawn of await event.run(this.#world, random, () => this.#meanwhile())) this.#ask(drawn);
    };
    this.#running.set(
      event.kind,
      run().finally(() => this.#running.delete(event.kind)),
    );
  }

  async #meanwhile(): Promise<void> {
    const until = this.#checks + MEANWHILE;
    while (this.#checks < until && this.#open.size > 0) await Promise.race(this.#open);
  }

  async #room(): Promise<void> {
    while (this.#open.size >= IN_FLIGHT) await Promise.race(this.#open);
  }

  #ask(drawn: Case): void {
    const asked = this.#check(drawn).finally(() => this.#open.delete(asked));
    this.#open.add(asked);
  }

  async #check(asked: Case): Promise<void> {
    const drawn = this.#options.isOneCaller === true ? ofOneCaller(asked) : asked;
    const { cast, timeline } = this.#world;
    const bytes = encodeCase(drawn, cast);
    const mark = timeline.mark;
    const startedAt = performance.now();
    const reply = await this.#world.ask(bytes, drawn);
    const tookMs = performance.now() - startedAt;
    const moments = timeline.since(mark);
    this.#checks += 1;
    // While this very thread stood still nobody could answer.
    if (drawn.deadlineMs >= LATE_FROM_MS && tookMs > drawn.deadlineMs) {
      await nextTurn(); // until the delay that has just ended is counted, too
      if (tookMs > drawn.deadlineMs + this.#delays.max / 1e6) this.#fail('late', `${tookMs} ms`, drawn);
    }
    if (reply.kind === 'grpc_error') return this.#fail('not_explicit', `gRPC error: ${reply.message}`, drawn);
    const seen = drawn.wire.kind === 'mutated' ? seeBytes(bytes, drawn.caller, cast) : see(drawn, cast);
    this.#judge(drawn, { verdict: readReply(reply.bytes), seen, moments });
  }

  #judge(
    drawn: Case,
    found: {
      readonly verdict: Verdict;
      readonly seen: Seen | undefined;
      readonly moments: ReturnType<World['timeline']['since']>;
    },
  ): void {
    const { verdict, seen, moments } = found;
    const now = Date.now();
    if (verdict.kind === 'not_explicit') return this.#fail('not_explicit', verdict.why, drawn);
    if (verdict.kind === 'allow') {
      this.#allows += 1;
      if (seen === undefined) return this.#fail('false_allow', 'the request cannot be read', drawn);
      if (!mayAllow(seen, moments, now)) {
        return this.#fail('false_allow', 'no policy gives it', drawn, moments.at(-1));
      }
      const { token } = seen;
      if (seen.policy === 'tokens' && token?.provider === 'once') {
        this.#uses.set(token.name, (this.#uses.get(token.name) ?? 0) + 1);
      }
      return;
    }
    this.#denies.set(verdict.reason, (this.#denies.get(verdict.reason) ?? 0) + 1);
    if (!POLICY_SAID.has(verdict.reason) || seen === undefined || seen.token?.provider === 'once') return;
    const isAsMeant = drawn.wire.kind === 'plain' || drawn.wire.kind === 'odd';
    if (isAsMeant && mustAllow(seen, moments, now)) {
      this.#fail('wrong_deny', verdict.reason, drawn, moments.at(-1));
    }
  }

  #fail(...[what, why, drawn, at]: [Failure['what'], string, Case, Moment?]): void {
    this.#failures.push({ what, why, drawn, at });
  }
}

function ofOneCaller(drawn: Case): Case {
  const { cancelMs, ...staying } = drawn;
  return { ...(cancelMs === undefined ? drawn : staying), caller: 'attested' };
}

/** With other reasons no policy was asked, or it could not answer. */
const POLICY_SAID = new Set(['policy_denied', 'undefined_decision', 'wrong_type', 'reply_refused']);
