import { SvidgateError, type Clock } from '../core/index.ts';
import type { AuthorityJournal, AuthorityState } from '../datastore/index.ts';
import {
  createRootCertificate,
  generateKeyPair,
  keyPairFromPem,
  parseCertificate,
  privateKeyToPem,
  type KeyPair,
} from '../pki/index.ts';
import { trustDomainId, type TrustDomain } from '../spiffe/index.ts';
import { BACKDATE_MS, type AuthoritySlot, type RotationStep } from './rotation-plan.ts';

/** A CA with its key, in one of the states of the journal. */
export interface LoadedSlot extends AuthoritySlot {
  readonly certificate: Uint8Array;
  readonly keyPair: KeyPair;
}

/** All CAs of the trust domain at one moment. Replaced as a whole, never changed. */
export interface AuthoritySlots {
  readonly sequence: number;
  readonly slots: readonly LoadedSlot[];
}

/** Organization of the subjects we issue; SPIFFE IDs stand in the URI SAN alone. */
export const ORGANIZATION = 'svidgate';

/**
 * Reads the journal. Throws `authority_failed` when a part is missing or does not belong to the rest, `config_invalid`
 * when it is another domain's.
 */
export async function loadSlots(journal: AuthorityJournal, trustDomain: TrustDomain): Promise<AuthoritySlots> {
  const state = await journal.load();
  if (state === undefined) return { sequence: 0, slots: [] };
  if (state.trustDomain !== trustDomain) {
    throw new SvidgateError(
      'config_invalid',
      `data_dir holds the authority of trust domain ${state.trustDomain}, but trust_domain is ${trustDomain}`,
    );
  }
  const slots = await Promise.all(
    state.records.map(async (record): Promise<LoadedSlot> => {
      const certificate = parseCertificate(record.certificate);
      const keyPair = keyPairFromPem(await journal.loadKey(record.id));
      if (certificate.subjectKeyId !== record.id || !certificate.isFor(keyPair)) {
        throw new SvidgateError('authority_failed', `the key of CA ${record.id} is not that of its certificate`);
      }
      return { ...record, notBefore: certificate.notBefore, notAfter: certificate.notAfter, keyPair };
    }),
  );
  return { sequence: state.sequence, slots };
}

/** Takes one step: the key is stored first, then the journal, and only then the new slots are returned. */
export async function takeStep(
  current: AuthoritySlots,
  step: RotationStep,
  context: {
    readonly journal: AuthorityJournal;
    readonly trustDomain: TrustDomain;
    readonly caTtlMs: number;
    readonly clock: Clock;
  },
): Promise<AuthoritySlots> {
  const next = await afterStep(current, step, context);
  await context.journal.save(toState(next, context.trustDomain));
  await context.journal.keepKeys(next.slots.map((slot) => slot.id));
  return next;
}

async function afterStep(
  current: AuthoritySlots,
  step: RotationStep,
  context: Parameters<typeof takeStep>[2],
): Promise<AuthoritySlots> {
  const { sequence, slots } = current;
  switch (step.kind) {
    case 'prepare': {
      const slot = await createSlot(context.trustDomain, context.caTtlMs, context.clock.now());
      await context.journal.saveKey(slot.id, privateKeyToPem(slot.keyPair.privateKey));
      return { sequence: sequence + 1, slots: [...slots, slot] };
    }
    case 'activate':
      return { sequence, slots: slots.map((slot) => activated(slot, step.id)) };
    case 'prune':
      return { sequence: sequence + 1, slots: slots.filter((slot) => slot.id !== step.id) };
  }
}

function activated(slot: LoadedSlot, id: string): LoadedSlot {
  if (slot.id === id) return { ...slot, state: 'active' };
  return slot.state === 'active' ? { ...slot, state: 'old' } : slot;
}

async function createSlot(trustDomain: TrustDomain, caTtlMs: number, now: number): Promise<LoadedSlot> {
  const keyPair = generateKeyPair();
  const { certificate } = await createRootCertificate({
    uri: trustDomainId(trustDomain),
    organization: ORGANIZATION,
    keyPair,
    notBefore: now - BACKDATE_MS,
    notAfter: now + caTtlMs,
  });
  const { subjectKeyId, notBefore, notAfter } = parseCertificate(certificate);
  return { id: subjectKeyId, state: 'prepared', certificate, keyPair, notBefore, notAfter };
}

function toState(slots: AuthoritySlots, trustDomain: TrustDomain): AuthorityState {
  return {
    trustDomain,
    sequence: slots.sequence,
    records: slots.slots.map(({ id, state, certificate }) => ({ id, state, certificate })),
  };
}
