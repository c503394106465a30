import { Secret, unpackAny } from '../../src/proto/index.ts';
import { openDelta, secretsIn } from '../support/delta-client.ts';
import { connect, type RawClient } from '../support/grpc-client.ts';
import { givesIdentity, spanSince } from './model.ts';
import { pauseUnless, type Scene } from './scene.ts';
import { peerId } from './soak-policies.ts';
import { clockMs } from './timeline.ts';

const MOST_STAY_MS = 3000;
const MAX_BYTES = 1024 * 1024;
const BUNDLES = ['ROOTCA', 'ALL'];

/** SDS streams that come, are given what they ask for or are refused, stay a while and go. */
export async function runGuests(scene: Scene): Promise<void> {
  const { over, world, findings } = scene;
  const random = scene.random.fork();
  while (!over.aborted) {
    const peers = Array.from({ length: random.below(3) }, () => random.below(world.peers.length));
    const asked = [...new Set([...peers.map(peerId), ...(random.below(2) === 0 ? [random.pick(BUNDLES)] : [])])];
    const names = asked.length === 0 ? ['ROOTCA'] : asked;
    using client = connect(scene.socket);
    const from = clockMs();
    const visit = random.below(2) === 0 ? sotwVisit(client, names) : deltaVisit(client, names);
    const given = await visit.given.catch((error: unknown) => error as Error);
    const span = spanSince(from);
    const rightTo = (name: string): ReturnType<typeof givesIdentity> => {
      const peer = peers.find((one) => peerId(one) === name);
      return peer === undefined ? 'must' : givesIdentity(world.peers[peer]!, span);
    };
    if (given instanceof Error) {
      if (names.every((name) => rightTo(name) === 'must')) {
        findings.wrongAnswer(`no ${names.join(', ')}: ${given.message}`);
      }
      findings.count('refused guest');
    } else {
      const tooMuch = given.filter((name) => rightTo(name) === 'must_not');
      if (tooMuch.length > 0) findings.wrongAnswer(`${tooMuch.join(', ')} for who has no right to it`);
      // Incremental streams are told that a name is not there; others are ended.
      const missing = names.filter((name) => !given.includes(name) && rightTo(name) === 'must');
      if (missing.length > 0) findings.wrongAnswer(`${missing.join(', ')} was left out of an answer`);
      findings.count('guest');
      await pauseUnless(over, random.below(MOST_STAY_MS));
    }
    visit.leave();
    await visit.ended;
  }
}

interface Visit {
  /** The names of the first secrets; rejects with what ended the stream before. */
  readonly given: Promise<readonly string[]>;
  leave(): void;
  readonly ended: Promise<unknown>;
}

function sotwVisit(client: RawClient, names: readonly string[]): Visit {
  const stream = client.streamSecrets();
  stream.send({ resourceNames: names });
  const given = stream.next().then((response) => {
    stream.ack(response, names);
    return response.resources.map((resource) => unpackAny(Secret, resource, MAX_BYTES).name);
  });
  return { given, leave: () => stream.cancel(), ended: stream.ended };
}

function deltaVisit(client: RawClient, names: readonly string[]): Visit {
  const stream = openDelta(client);
  stream.subscribe(...names);
  const given = stream.next().then((response) => {
    stream.ack(response);
    return [...secretsIn(response).keys()];
  });
  return { given, leave: () => stream.cancel(), ended: stream.ended };
}
