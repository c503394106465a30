import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { SECRET_TYPE_URL } from '../../../src/proto/index.ts';
import { DeltaSession, type DeltaRequest } from '../../../src/discovery/delta-session.ts';
import type { Look } from '../../../src/discovery/discovery-session.ts';
import { CLOSED_VERSION, steps, World, WORLD_NAMES, type Step } from '../../support/sds-world.ts';

interface Answer {
  readonly nonce: string;
  readonly versions: ReadonlyMap<string, string>;
  readonly removed: readonly string[];
}

interface ModelOptions {
  readonly unknownName: 'error' | 'wait';
  /** Asks for everything, and for no name. */
  readonly isWild: boolean;
}

/** An Envoy that follows the protocol, a line that delays messages, and a judge of what the server sends. */
class DeltaModel {
  readonly world = new World();
  readonly #options: ModelOptions;
  #session!: DeltaSession;
  #requests: DeltaRequest[] = [];
  #answers: Answer[] = [];
  #nonces = 0;
  /** Of this stream: what was sent last by name, and which names an answer is due for. */
  #sent = new Map<string, string>();
  #asked = new Set<string>();
  /** What the Envoy asks for, and holds. */
  #names: readonly string[] = [];
  readonly #held = new Map<string, string>();
  readonly #refused = new Set<string>();

  constructor(options: ModelOptions) {
    this.#options = options;
    this.#names = options.isWild ? [] : ['a'];
    this.#connect();
  }

  step(step: Step): void {
    switch (step.kind) {
      case 'content':
        return this.world.set(step.name, step.content);
      case 'registered':
        return this.world.register(step.isRegistered);
      case 'names':
        return this.#subscribe(step.names);
      case 'request':
        return this.#takeRequest();
      case 'change':
        return this.#look(true);
      case 'answer':
        return this.#takeAnswer(step.isTaken);
      case 'reconnect':
        return this.#connect();
      case 'forge':
        return void this.#requests.push(request({ responseNonce: 'forged', refusal: 'no' }));
    }
  }

  /** Lets all that is under way arrive, and compares. */
  settle(): void {
    this.world.register(true);
    for (let round = 0; round < 20; round += 1) {
      this.#look(true);
      while (this.#requests.length > 0) this.#takeRequest();
      while (this.#answers.length > 0) this.#takeAnswer(true);
    }
    for (const name of this.#options.isWild ? WORLD_NAMES : this.#names) {
      const now = this.world.now(name);
      const has = this.#held.get(name);
      if (now === 'pending') continue;
      if (now === 'unknown') assert.equal(has, undefined, `the loss of ${name} was not told`);
      else if (now === 'closed') {
        assert.ok(has === undefined || has === CLOSED_VERSION || this.#refused.has(CLOSED_VERSION), 'it is not closed');
      } else assert.ok(has === now || this.#refused.has(now), `an update of ${name} was lost`);
    }
    assert.deepEqual([this.#requests.length, this.#answers.length], [0, 0], 'it never comes to rest');
    if (this.#options.unknownName === 'error')
      assert.deepEqual(
        [...this.#asked].filter((name) => this.world.now(name) !== 'pending'),
        [],
      );
  }

  #connect(): void {
    this.#session = new DeltaSession({
      typeUrl: SECRET_TYPE_URL,
      ...this.#options,
      isAggregated: false,
      nextNonce: () => `n${(this.#nonces += 1)}`,
    });
    this.#answers = [];
    this.#sent = new Map(
      this.#options.isWild ? this.#held : [...this.#held].filter(([name]) => this.#names.includes(name)),
    );
    this.#asked = new Set();
    this.#requests = [request({ subscribe: new Set(this.#names), initialVersions: new Map(this.#held) })];
  }

  #subscribe(names: readonly string[]): void {
    if (this.#options.isWild) return;
    const subscribe = new Set(names.filter((name) => !this.#names.includes(name)));
    const unsubscribe = new Set(this.#names.filter((name) => !names.includes(name)));
    this.#names = names;
    for (const name of unsubscribe) this.#held.delete(name);
    // A further watch on a name that is there already.
    if (subscribe.size + unsubscribe.size === 0) for (const name of names.slice(0, 1)) subscribe.add(name);
    this.#requests.push(request({ subscribe, unsubscribe }));
  }

  #takeRequest(): void {
    const next = this.#requests.shift();
    if (next === undefined) return;
    for (const name of next.unsubscribe) {
      this.#asked.delete(name);
      this.#sent.delete(name);
    }
    for (const name of next.subscribe) this.#asked.add(name);
    const { reply } = this.#session.receive(next);
    if (next.responseNonce === 'forged') assert.equal(reply?.kind, 'stale');
    this.#look(false);
  }

  #look(isChanged: boolean): void {
    let look: Look;
    try {
      look = this.#session.look(this.world.view(), isChanged);
    } catch (error) {
      assert.ok(error instanceof SvidgateError && this.#options.unknownName === 'error' && !this.world.isRegistered);
      return this.#connect();
    }
    if (look.message === undefined) return;
    assert.ok(this.world.isRegistered, 'nobody who is not registered is sent anything');
    const { nonce, sent, removed } = look.message;
    for (const { name, version } of sent) {
      assert.ok(this.#asked.delete(name) || this.#sent.get(name) !== version, `${name} is sent twice`);
      this.#sent.set(name, version);
    }
    for (const name of removed) {
      assert.ok(this.#asked.delete(name) || this.#sent.has(name), `${name} is removed twice`);
      this.#sent.delete(name);
    }
    this.#answers.push({ nonce, versions: new Map(sent.map(({ name, version }) => [name, version])), removed });
  }

  #takeAnswer(isTaken: boolean): void {
    const answer = this.#answers.shift();
    if (answer === undefined) return;
    const concerns = (name: string): boolean => this.#options.isWild || this.#names.includes(name);
    if (isTaken) {
      for (const [name, version] of answer.versions) if (concerns(name)) this.#held.set(name, version);
      for (const name of answer.removed) this.#held.delete(name);
    } else for (const version of answer.versions.values()) this.#refused.add(version);
    // Removal cannot be refused for long: an Envoy takes it all the same.
    for (const name of answer.removed) this.#held.delete(name);
    this.#requests.push(request({ responseNonce: answer.nonce, refusal: isTaken ? undefined : 'no' }));
  }
}

function request(fields: Partial<DeltaRequest>): DeltaRequest {
  return {
    subscribe: new Set(),
    unsubscribe: new Set(),
    initialVersions: new Map(),
    responseNonce: '',
    refusal: undefined,
    node: undefined,
    ...fields,
  };
}

for (const unknownName of ['error', 'wait'] as const) {
  for (const isWild of [false, true]) {
    test(`delta, ${unknownName}${isWild ? ', everything' : ''}: no update is lost, nothing is sent twice, each question is answered`, () => {
      fc.assert(
        fc.property(steps, (all) => {
          const model = new DeltaModel({ unknownName, isWild });
          for (const step of all) model.step(step);
          model.settle();
        }),
        { numRuns: 1500 },
      );
    });
  }
}
