import { givesIdentity, spanSince, type Token } from './model.ts';
import { pauseUnless, type Scene } from './scene.ts';
import { peerId } from './soak-policies.ts';
import type { HeldToken } from './traffic.ts';
import { clockMs } from './timeline.ts';

const EVERY_MS = 700;
/** Old ones are kept beyond their end, which is 20 s after they were made. */
const KEPT = 48;

/** Fetches tokens of all peers again and again, and puts them, and what was made of them, where clients take theirs. */
export async function runTokens(scene: Scene, tokens: HeldToken[]): Promise<void> {
  const { over, world, findings } = scene;
  const random = scene.random.fork();
  while (!over.aborted) {
    const peer = random.below(world.peers.length);
    const kind = random.weighted<Token['kind']>([
      [6, 'good'],
      [1, 'foreign'],
      [1, 'forged'],
    ]);
    const from = clockMs();
    try {
      const audience = [kind === 'foreign' ? 'elsewhere' : 'orders'];
      const { svids } = await scene.workload.jwtSvids({ audience, spiffeId: peerId(peer) });
      const text = svids[0]?.svid ?? '';
      if (givesIdentity(world.peers[peer]!, spanSince(from)) === 'must_not') {
        findings.wrongAnswer(`a token for peer ${peer}, which has no right to it`);
      }
      findings.count('token');
      tokens.push({ peer, kind, endsAt: endOf(text), text: kind === 'forged' ? forged(text) : text });
      tokens.splice(0, Math.max(0, tokens.length - KEPT));
    } catch (error) {
      if (!over.aborted && givesIdentity(world.peers[peer]!, spanSince(from)) === 'must') {
        findings.wrongAnswer(`no token for peer ${peer}: ${String(error)}`);
      }
      findings.count('refused token');
    }
    await pauseUnless(over, EVERY_MS);
  }
}

function endOf(token: string): number {
  const claims = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString();
  return (JSON.parse(claims) as { readonly exp: number }).exp * 1000;
}

/** Another subject under the same signature. */
function forged(token: string): string {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Readonly<Record<string, unknown>>;
  const changed = Buffer.from(JSON.stringify({ ...claims, admin: true })).toString('base64url');
  return [header, changed, signature].join('.');
}
