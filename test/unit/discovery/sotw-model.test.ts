import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SvidgateError } from '../../../src/core/index.ts';
import { SECRET_TYPE_URL } from '../../../src/proto/index.ts';
import type { Look } from '../../../src/discovery/discovery-session.ts';
import { SotwSession, type SotwRequest } from '../../../src/discovery/sotw-session.ts';
import { CLOSED_VERSION, steps, World, type Step } from '../../support/sds-world.ts';

interface Answer {
  readonly nonce: string;
  readonly version: string;
  readonly versions: ReadonlyMap<string, string>;
}

interface ModelOptions {
  readonly unknownName: 'error' | 'wait';
  readonly isAggregated: boolean;
}

/** An Envoy that follows the protocol, a line that delays messages, and a judge of what the server sends. */
class SotwModel {
  readonly world = new World();
  readonly #options: ModelOptions;
  #session!: SotwSession;
  #requests: SotwRequest[] = [];
  #answers: Answer[] = [];
  #nonces = 0;
  /** What the server sent last on this stream. */
  #sent: Answer | undefined;
  /** What the Envoy asks for, has read last, and holds. */
  #names: readonly string[] = ['a'];
  #read: Answer | undefined;
  #version = '';
  readonly #held = new Map<string, string>();
  readonly #refused = new Set<string>();
  #isSettling = false;

  constructor(options: ModelOptions) {
    this.#options = options;
    this.#connect();
  }

  step(step: Step): void {
    switch (step.kind) {
      case 'content':
        return this.world.set(step.name, step.content);
      case 'registered':
        return this.world.register(step.isRegistered);
      case 'names':
        this.#names = step.names;
        for (const name of this.#held.keys()) if (!step.names.includes(name)) this.#held.delete(name);
        return this.#ask({});
      case 'request':
        return this.#takeRequest();
      case 'change':
        return this.#look('a change');
      case 'answer':
        return this.#takeAnswer(step.isTaken);
      case 'reconnect':
        return this.#connect();
      case 'forge':
        this.#requests.push({ ...this.#request({}), names: new Set(['forged']), responseNonce: 'forged' });
    }
  }

  /** Lets all that is under way arrive, with rights for every name that is asked for, and compares. */
  settle(): void {
    this.world.register(true);
    this.#isSettling = true;
    this.#requests = this.#requests.filter(({ responseNonce }) => responseNonce !== 'forged');
    this.#ask({});
    for (let round = 0; round < 20; round += 1) {
      this.#look('a change');
      while (this.#requests.length > 0) this.#takeRequest();
      while (this.#answers.length > 0) this.#takeAnswer(true);
    }
    for (const name of this.#names) {
      const now = this.world.now(name);
      const has = this.#held.get(name);
      if (now === 'pending' || now === 'unknown') continue;
      if (now === 'closed') {
        assert.ok(has === undefined || has === CLOSED_VERSION || this.#refused.has(CLOSED_VERSION), 'it is not closed');
      } else assert.ok(has === now || this.#refused.has(now), `an update of ${name} was lost`);
    }
    assert.deepEqual([this.#requests.length, this.#answers.length], [0, 0], 'it never comes to rest');
  }

  /** A request for what means nothing is refused again and again, and a bundle that is not held is not closed. */
  #giveRights(): void {
    for (const name of this.#names) if (['unknown', 'closed'].includes(this.world.now(name))) this.world.set(name, '4');
  }

  #connect(): void {
    this.#session = new SotwSession({
      typeUrl: SECRET_TYPE_URL,
      ...this.#options,
      nextNonce: () => `n${(this.#nonces += 1)}`,
    });
    this.#requests = [];
    this.#answers = [];
    this.#sent = undefined;
    this.#read = undefined;
    this.#ask({});
  }

  #request(more: Partial<SotwRequest>): SotwRequest {
    return {
      names: new Set(this.#names),
      versionInfo: this.#version,
      responseNonce: this.#read?.nonce ?? '',
      refusal: undefined,
      node: undefined,
      ...more,
    };
  }

  #ask(more: Partial<SotwRequest>): void {
    this.#requests.push(this.#request(more));
  }

  #takeRequest(): void {
    const request = this.#requests.shift();
    if (request === undefined) return;
    const isStale = this.#sent !== undefined && request.responseNonce !== this.#sent.nonce;
    const { asks, reply } = this.#session.receive(request);
    if (isStale) assert.deepEqual([asks, reply?.kind], [false, 'stale']);
    this.#look(asks ? 'a question' : 'a reply');
  }

  #look(cause: 'a change' | 'a question' | 'a reply'): void {
    let look: Look;
    try {
      look = this.#session.look(this.world.view(), cause === 'a change');
    } catch (error) {
      assert.ok(error instanceof SvidgateError && this.#options.unknownName === 'error');
      if (this.#isSettling) this.#giveRights();
      return this.#connect();
    }
    if (look.message === undefined) return;
    assert.ok(this.world.isRegistered, 'nobody who is not registered is sent anything');
    const { nonce, version, sent } = look.message;
    const answer = { nonce, version, versions: new Map(sent.map((secret) => [secret.name, secret.version])) };
    if (cause === 'a change') {
      assert.notEqual(answer.version, this.#sent?.version, 'the same is pushed twice');
      const before = this.#sent?.versions ?? new Map<string, string>();
      const differs = [...answer.versions].some(([name, one]) => before.get(name) !== one);
      assert.ok(differs || answer.versions.size < before.size, 'nothing new is pushed');
    }
    this.#sent = answer;
    this.#answers.push(answer);
  }

  #takeAnswer(isTaken: boolean): void {
    const answer = this.#answers.shift();
    if (answer === undefined) return;
    this.#read = answer;
    if (!isTaken) {
      for (const version of answer.versions.values()) this.#refused.add(version);
      return this.#ask({ refusal: 'no' });
    }
    this.#version = answer.version;
    for (const [name, version] of answer.versions) if (this.#names.includes(name)) this.#held.set(name, version);
    this.#ask({});
  }
}

for (const unknownName of ['error', 'wait'] as const) {
  for (const isAggregated of [false, true]) {
    test(`state of the world, ${unknownName}${isAggregated ? ', ADS' : ''}: no update is lost, nothing is sent twice, no stale nonce is answered`, () => {
      fc.assert(
        fc.property(steps, (all) => {
          const model = new SotwModel({ unknownName, isAggregated });
          for (const step of all) model.step(step);
          model.settle();
        }),
        { numRuns: 1500 },
      );
    });
  }
}
