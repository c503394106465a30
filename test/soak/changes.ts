import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair } from '../../src/pki/index.ts';
import { createRootCertificate } from '../support/certificates.ts';
import { waitUntil } from '../support/wait-until.ts';
import type { Holder } from './holders.ts';
import type { Rules } from './model.ts';
import { pauseUnless, type Scene } from './scene.ts';
import { brokenPolicy, firstPolicy, peerId, secondPolicy, TRUST_DOMAIN } from './soak-policies.ts';
import { Timeline } from './timeline.ts';

/** What a change may need to know, beyond the scene. */
export interface ChangeContext {
  readonly scene: Scene;
  readonly holders: readonly Holder[];
  /** What a peer's entry names. */
  readonly selectors: readonly string[];
  readonly writeEntries: (extra: number) => Promise<number>;
}

type Change = () => Promise<void>;

/** A policy is compiled on a busy machine. */
const RELOAD_LIMIT_MS = 60_000;
const SEEN_LIMIT_MS = 20_000;
/** Of all peers: others keep the traffic going. */
const MOST_LOST = 2;

/** Changes one thing after the other, with little time between, until the time is up; then undoes what can be undone. */
export async function runChanges(context: ChangeContext, pauseMs: number): Promise<void> {
  const { scene } = context;
  const { over, findings } = scene;
  const random = scene.random.fork();
  const changes = new Changes(context);
  const choices = Object.entries({
    'policy reloaded': [4, () => changes.reloadFirst()],
    'second policy reloaded': [2, () => changes.reloadSecond()],
    'policy broken': [1, () => changes.breakFirst()],
    'serial revoked': [4, () => changes.revokeSerial()],
    'id revoked': [3, () => changes.revokeId()],
    'revocation undone': [6, () => changes.undoOne()],
    'entry deleted': [3, () => changes.deleteEntry()],
    'entry created': [4, () => changes.createMissing()],
    'entry updated': [3, () => changes.updateEntry()],
    'entries file changed': [2, () => changes.changeFile()],
    'CA rotated': [1, () => changes.rotate('x509')],
    'JWT key rotated': [1, () => changes.rotate('jwt')],
    'foreign bundle': [2, () => changes.changeBundle()],
    'admin read': [3, () => changes.readAll()],
  } satisfies Readonly<Record<string, readonly [number, Change]>>);
  while (!over.aborted) {
    const [name, change] = random.weighted(choices.map(([title, [weight, make]]) => [weight, [title, make] as const]));
    await change();
    findings.count(`change: ${name}`);
    await pauseUnless(over, random.below(2 * pauseMs));
  }
  await changes.undoAll();
}

interface Undoable {
  readonly revocationId: string;
  readonly timeline: Timeline<boolean>;
}

class Changes {
  readonly #context: ChangeContext;
  readonly #scene: Scene;
  readonly #random;
  readonly #revocations: Undoable[] = [];
  readonly #entryIds: (string | undefined)[];
  #generation = 1;
  #bundles = 0;
  #fileEntries = 0;

  constructor(context: ChangeContext) {
    this.#context = context;
    this.#scene = context.scene;
    this.#random = context.scene.random.fork();
    this.#entryIds = context.holders.map(({ peer }) => entryIdOf(peer));
  }

  async reloadFirst(): Promise<void> {
    await this.#reload('default', this.#scene.world.first, { file: 'first/authz.rego', text: firstPolicy });
  }

  async reloadSecond(): Promise<void> {
    await this.#reload('second', this.#scene.world.second, { file: 'second/second.rego', text: secondPolicy });
  }

  /** What decides stays what it was. */
  async breakFirst(): Promise<void> {
    await this.#replace('first/authz.rego', brokenPolicy((this.#generation += 1)));
    await waitUntil('a broken policy to be refused', RELOAD_LIMIT_MS, async () => {
      const { problem } = await this.#policy('default');
      return problem !== undefined;
    });
  }

  async revokeSerial(): Promise<void> {
    const { identity } = this.#random.pick(this.#context.holders);
    if (identity === undefined || identity.shown.endsAt < Date.now()) return;
    const { serials } = this.#scene.world;
    const timeline = serials.get(identity.serial) ?? new Timeline(false);
    if (timeline.latest) return;
    serials.set(identity.serial, timeline);
    await this.#revoke(timeline, ['--serial', identity.serial]);
  }

  async revokeId(): Promise<void> {
    const found = this.#anyAvailable();
    if (found === undefined) return;
    await this.#revoke(this.#scene.world.peers[found]!.isRevoked, ['--spiffe-id', peerId(found)]);
  }

  async undoOne(): Promise<void> {
    const [one] = this.#revocations.splice(this.#random.below(this.#revocations.length), 1);
    if (one === undefined) return;
    const settle = one.timeline.begin(false);
    await this.#scene.cli.text('svid', 'unrevoke', one.revocationId);
    settle();
  }

  async deleteEntry(): Promise<void> {
    const peer = this.#anyAvailable();
    const entryId = peer === undefined ? undefined : this.#entryIds[peer];
    if (peer === undefined || entryId === undefined) return;
    const settle = this.#scene.world.peers[peer]!.isRegistered.begin(false);
    await this.#scene.cli.text('entry', 'delete', entryId);
    settle();
    this.#entryIds[peer] = undefined;
  }

  async createMissing(): Promise<void> {
    const peer = this.#entryIds.indexOf(undefined);
    if (peer === -1) return;
    const settle = this.#scene.world.peers[peer]!.isRegistered.begin(true);
    const selectors = this.#context.selectors.flatMap((selector) => ['--selector', selector]);
    const id = entryIdOf(peer);
    await this.#scene.cli.text('entry', 'create', '--entry-id', id, '--spiffe-id', peerId(peer), ...selectors);
    settle();
    this.#entryIds[peer] = id;
  }

  /** Its holder gets another SVID; the one before stays as good as it was. */
  async updateEntry(): Promise<void> {
    const entryId = this.#random.pick(this.#entryIds);
    if (entryId === undefined) return;
    const name = `change-${this.#random.below(1e6)}.soak.test`;
    await this.#scene.cli.text('entry', 'update', entryId, '--dns-name', name);
  }

  async changeFile(): Promise<void> {
    this.#fileEntries = await this.#context.writeEntries(this.#random.below(20));
    await waitUntil(
      'the entries of the file',
      SEEN_LIMIT_MS,
      async () => (await this.#entryCount()) === this.#expected(),
    );
  }

  /** The key in force changes; what older ones signed stays good. */
  async rotate(kind: 'x509' | 'jwt'): Promise<void> {
    const { cli, findings } = this.#scene;
    const prepared = await cli('authority', 'prepare', kind, '--output', 'json');
    // One may be prepared already, have become active by itself meanwhile, or wait for an Envoy that has just come.
    if (prepared.code !== 0) return findings.count('not prepared');
    const { authorities } = JSON.parse(prepared.out) as Authorities;
    const next = authorities.find((one) => one.kind === kind && one.state === 'prepared');
    if (next === undefined) return findings.count('not prepared');
    const { code } = await cli('authority', 'activate', kind, next.authority_id);
    if (code !== 0) findings.count('not activated');
  }

  async changeBundle(): Promise<void> {
    const name = `foreign-${this.#random.below(4)}.test`;
    if (this.#bundles % 3 === 2) {
      const { bundles } = (await this.#scene.cli.json('bundle', 'list')) as Bundles;
      const foreign = bundles.find(({ trust_domain: domain }) => domain !== TRUST_DOMAIN);
      if (foreign !== undefined) await this.#scene.cli.text('bundle', 'delete', foreign.trust_domain);
    } else {
      const now = Date.now();
      const { certificate } = await createRootCertificate({
        uri: `spiffe://${name}`,
        organization: 'Foreign',
        keyPair: generateKeyPair(),
        notBefore: now - 60_000,
        notAfter: now + 3_600_000,
      });
      const base64 = Buffer.from(certificate).toString('base64').replaceAll(/.{64}/g, '$&\n');
      const pem = `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`;
      await writeFile(join(this.#scene.folder, 'foreign.pem'), pem);
      await this.#scene.cli.text('bundle', 'set', name, join(this.#scene.folder, 'foreign.pem'));
    }
    this.#bundles += 1;
  }

  /** The books are as we know them. */
  async readAll(): Promise<void> {
    const { cli, findings, world } = this.#scene;
    const count = await this.#entryCount();
    if (count !== this.#expected()) findings.wrongAnswer(`${count} entries instead of ${this.#expected()}`);
    const { revocations } = (await cli.json('svid', 'revocations')) as Revocations;
    const ids = revocations.filter(({ serial }) => serial === undefined).map((one) => one.spiffe_id);
    const known = world.peers.flatMap(({ isRevoked }, peer) => (isRevoked.latest ? [peerId(peer)] : []));
    if (ids.toSorted().join() !== known.toSorted().join()) findings.wrongAnswer(`revoked IDs: ${ids.join()}`);
    await cli.text('authority', 'show');
    await cli.text('status');
  }

  async undoAll(): Promise<void> {
    while (this.#revocations.length > 0) await this.undoOne();
    while (this.#entryIds.includes(undefined)) await this.createMissing();
    await this.reloadFirst();
  }

  async #revoke(timeline: Timeline<boolean>, target: readonly string[]): Promise<void> {
    const settle = timeline.begin(true);
    const { revocation_id: revocationId } = (await this.#scene.cli.json('svid', 'revoke', ...target)) as Revocation;
    settle();
    this.#revocations.push({ revocationId, timeline });
  }

  /** A peer that has all it needs, while not too many others lack something. */
  #anyAvailable(): number | undefined {
    const { peers } = this.#scene.world;
    const available = peers.flatMap(({ isRevoked, isRegistered }, peer) =>
      isRegistered.latest && !isRevoked.latest ? [peer] : [],
    );
    return available.length > peers.length - MOST_LOST ? this.#random.pick(available) : undefined;
  }

  async #reload(
    policy: string,
    timeline: Timeline<Rules>,
    { file, text }: { readonly file: string; readonly text: (rules: Rules) => string },
  ): Promise<void> {
    const rules = this.#nextRules();
    const before = await this.#policy(policy);
    const settle = timeline.begin(rules);
    await this.#replace(file, text(rules));
    await waitUntil(`policy ${policy} to be reloaded`, RELOAD_LIMIT_MS, async () => {
      const { revision, problem } = await this.#policy(policy);
      return problem === undefined && revision !== before.revision;
    });
    settle();
  }

  #nextRules(): Rules {
    this.#generation += 1;
    const all = this.#context.holders.map(({ peer }) => peer);
    const members = all.filter(() => this.#random.below(4) > 0);
    return { generation: this.#generation, members, limit: this.#random.below(200) };
  }

  /** At once, as an editor or a deployment does. */
  async #replace(file: string, text: string): Promise<void> {
    const path = join(this.#scene.folder, file);
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  }

  async #policy(name: string): Promise<PolicyState> {
    const { policies } = (await this.#scene.cli.json('status')) as { readonly policies: readonly PolicyState[] };
    const found = policies.find((policy) => policy.name === name);
    if (found === undefined) throw new Error(`no policy ${name}`);
    return found;
  }

  async #entryCount(): Promise<number> {
    const { entries } = (await this.#scene.cli.json('entry', 'list')) as { readonly entries: readonly unknown[] };
    return entries.length;
  }

  #expected(): number {
    return 1 + this.#fileEntries + this.#entryIds.filter((id) => id !== undefined).length;
  }
}

export function entryIdOf(peer: number): string {
  return `peer-${peer}`;
}

interface PolicyState {
  readonly name: string;
  readonly revision: string;
  readonly problem?: string;
}

interface Revocation {
  readonly revocation_id: string;
  /** Absent when the SPIFFE ID itself is revoked. */
  readonly serial?: string;
  readonly spiffe_id: string;
}

interface Revocations {
  readonly revocations: readonly Revocation[];
}

interface Authorities {
  readonly authorities: readonly { readonly kind: string; readonly state: string; readonly authority_id: string }[];
}

interface Bundles {
  readonly bundles: readonly { readonly trust_domain: string }[];
}
