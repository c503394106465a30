import { X509Certificate } from 'node:crypto';
import { unpackAny, Secret } from '../../src/proto/index.ts';
import { identityOf, type PeerIdentity } from '../support/tls-peer.ts';
import { clockMs } from './timeline.ts';
import { givesIdentity, isMaybeRevoked, spanSince, type Shown } from './model.ts';
import { pauseUnless, type Scene } from './scene.ts';
import { peerId } from './soak-policies.ts';

export interface HeldIdentity extends PeerIdentity {
  readonly shown: Shown;
}

/** What one peer holds by a stream of SDS, as its Envoy would. */
export interface Holder {
  readonly peer: number;
  /** The last that came; it stays when the stream is ended. */
  readonly identity: HeldIdentity | undefined;
  /** Ends with the soak. */
  readonly done: Promise<void>;
}

const RETRY_MS = 200;
/** Between a revocation that has been answered and the last push of what was signed before. */
const PUSH_LAG_MS = 5000;

export function startHolder(scene: Scene, peer: number): Holder {
  let identity: HeldIdentity | undefined;
  return {
    peer,
    get identity() {
      return identity;
    },
    done: follow(scene, peer, (fresh) => (identity = fresh)),
  };
}

async function follow(scene: Scene, peer: number, hold: (fresh: HeldIdentity) => void): Promise<void> {
  const { sds, over, findings, world } = scene;
  while (!over.aborted) {
    const began = clockMs();
    const stream = sds.streamSecrets();
    const cancel = (): void => stream.cancel();
    over.addEventListener('abort', cancel);
    let answered = false;
    try {
      stream.send({ resourceNames: [peerId(peer)] });
      for (;;) {
        const response = await stream.next();
        const [resource] = response.resources;
        if (resource === undefined || response.resources.length > 1) throw new Error('not one secret');
        const fresh = heldIdentity(peer, identityOf(unpackAny(Secret, resource, 1024 * 1024)));
        judgeFresh(scene, fresh);
        if (!answered && givesIdentity(world.peers[peer]!, spanSince(began)) === 'must_not') {
          findings.wrongAnswer(`an SVID for peer ${peer}, which has no right to it`);
        }
        answered = true;
        findings.count('pushed svid');
        hold(fresh);
        stream.ack(response, [peerId(peer)]);
      }
    } catch (error) {
      if (over.aborted) return;
      const may = givesIdentity(world.peers[peer]!, spanSince(began));
      if (may === 'must') findings.wrongAnswer(`the stream of peer ${peer} was ended: ${String(error)}`);
      findings.count('ended stream');
    } finally {
      over.removeEventListener('abort', cancel);
      stream.cancel();
    }
    await pauseUnless(over, RETRY_MS);
  }
}

function heldIdentity(peer: number, identity: PeerIdentity): HeldIdentity {
  const endsAt = Date.parse(new X509Certificate(identity.cert).validTo);
  return { ...identity, shown: { peer, serial: identity.serial, endsAt } };
}

/** Right of this peer, good for a while, and not long revoked. */
function judgeFresh({ findings, world }: Scene, { cert, shown }: HeldIdentity): void {
  const now = clockMs();
  const { subjectAltName } = new X509Certificate(cert);
  if (subjectAltName?.includes(`URI:${peerId(shown.peer)}`) !== true) {
    findings.wrongAnswer(`peer ${shown.peer} was given ${subjectAltName}`);
  }
  if (shown.endsAt <= now) findings.wrongAnswer(`peer ${shown.peer} was given an SVID that has ended`);
  const span = { from: now - PUSH_LAG_MS, to: now };
  if (isMaybeRevoked(world, shown.serial, span) && world.serials.get(shown.serial)?.isCertainly(true, span) === true) {
    findings.wrongAnswer(`peer ${shown.peer} was given the revoked serial ${shown.serial}`);
  }
}
