import { readFile } from 'node:fs/promises';
import type { AuthzConfig, GateListenerConfig } from '../config/index.ts';
import { SvidgateError } from '../core/index.ts';
import {
  createExtAuthzEndpoint,
  createGrpcBodyReader,
  type CheckRules,
  type GateAccess,
  type GrpcBodyReader,
} from '../endpoints/ext-authz/index.ts';
import { createHealthEndpoint, createReflectionEndpoint } from '../endpoints/health/index.ts';
import type { PolicyEvidence } from '../evidence/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import { AUTHORIZATION_SERVICE, parseDescriptorSet } from '../proto/index.ts';
import { trustDomainOf } from '../spiffe/index.ts';
import { startWireServer, type GrpcServer, type Peer } from '../transport/index.ts';
import { openAddress } from './open-address.ts';
import type { ServerParts } from './parts.ts';

/**
 * The gate, with health and reflection, or undefined when the configuration has none. Throws `config_invalid` for a
 * descriptor file that cannot be read.
 */
export async function startGate(parts: ServerParts): Promise<GrpcServer | undefined> {
  const { config, metrics, policies, gateIdentity, registry, revocations, evidence } = parts;
  const { authz } = config;
  if (authz === undefined || policies === undefined || gateIdentity === undefined) return undefined;
  const logger = parts.logger.child({ room: 'gate' });
  if (authz.dryRun) logger.warn({}, 'dry run: what policies deny is let through');
  const methods = [
    ...createExtAuthzEndpoint({
      policies,
      ...(evidence === undefined ? {} : { trials: evidence.trials }),
      requests: gateIdentity.requests,
      attestor: parts.attestor,
      entries: {
        // Who lost its identity asks for nobody any more, even while its process and its entry are there.
        match: (selectors) =>
          registry.snapshot.value
            .match(selectors)
            .filter(({ spiffeId }) => !revocations.snapshot.value.hasSpiffeId(spiffeId)),
      },
      ...(authz.denyUnregistered
        ? {
            // Who is registered in a foreign trust domain is not for us to know.
            isRegistered: (id) => trustDomainOf(id) !== config.trustDomain || registry.snapshot.value.hasSpiffeId(id),
          }
        : {}),
      maxRequestBytes: authz.maxRequestBytes,
      onError: authz.onError,
      givesDenyBody: authz.denyBody === 'by_type',
      rules: await checkRules(authz),
      access: accessOf(authz.listeners[0]),
      clock: parts.clock,
      logger,
      metrics,
    }),
    ...createHealthEndpoint({
      services: [serviceOf(AUTHORIZATION_SERVICE.check.path)],
      changes: policies.status,
      isServing: () => isEveryPolicyActive(policies, evidence),
    }),
  ];
  return startWireServer({
    name: 'gate',
    address: openAddress(authz.listeners[0].listen),
    methods: [...methods, ...createReflectionEndpoint(methods)],
    identify: parts.tracker.identify,
    onPeer: (peer) => attestEarly(peer, parts),
    maxMessageBytes: authz.maxRequestBytes,
    anyAuthority: authz.anyAuthority,
    logger: parts.logger.child({ room: 'transport' }),
    metrics,
  });
}

function accessOf({ name, ...access }: GateListenerConfig): GateAccess {
  return { ...access, listener: name };
}

async function checkRules(authz: AuthzConfig): Promise<CheckRules> {
  const { protoDescriptorFile: file } = authz;
  return {
    skipsBody: authz.skipRequestBodyParse,
    ...(file === undefined ? {} : { readGrpc: await readDescriptors(file) }),
    pathGuard: authz.pathGuard,
    isDryRun: authz.dryRun,
    reply: authz.reply,
  };
}

async function readDescriptors(file: string): Promise<GrpcBodyReader> {
  try {
    return createGrpcBodyReader(parseDescriptorSet(await readFile(file)));
  } catch (cause) {
    const { message } = SvidgateError.from(cause);
    throw new SvidgateError('config_invalid', `authz.proto_descriptor ${file}: ${message}`, { cause });
  }
}

/** Every one that decides. */
function isEveryPolicyActive(policies: PolicyEngine, evidence: PolicyEvidence | undefined): boolean {
  return [...policies.status.value].every(
    ([name, { state }]) => state === 'active' || evidence?.isTrial(name) === true,
  );
}

/** The first attestation of an executable hashes it; that must not eat the deadline of the first request. */
function attestEarly(peer: Peer, parts: ServerParts): void {
  if (peer.kind === 'unix') parts.attestor.attest(peer.process).catch(() => undefined); // logged; the check denies
}

/** `a.B` of `/a.B/Method`. */
function serviceOf(path: string): string {
  return path.split('/')[1] ?? '';
}
