import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { unservedPolicies, type AuthzConfig, type GateListenerConfig } from '../config/index.ts';
import { combine, SvidgateError, Watchable, type Logger } from '../core/index.ts';
import { createExtAuthzEndpoint } from '../endpoints/ext-authz/index.ts';
import { createHealthEndpoint, createReflectionEndpoint } from '../endpoints/health/index.ts';
import { createGrpcBodyReader, type CheckRules, type GrpcBodyReader } from '../gate/index.ts';
import type { PolicyEngine } from '../policy/index.ts';
import { AUTHORIZATION_SERVICE, parseDescriptorSet } from '../proto/index.ts';
import { trustDomainOf, type SpiffeId } from '../spiffe/index.ts';
import { startWireServer, type GrpcServer, type PeerHttpServer } from '../transport/index.ts';
import { rememberMatches } from './caller-entries.ts';
import type { GateIdentity } from './gate-identity.ts';
import { gateIdsOfEntries } from './gate-tls.ts';
import { createEgressTokens } from './egress-tokens.ts';
import { attestEarly, tlsOf, type GateContext } from './gate-context.ts';
import { startHttpListener } from './gate-http.ts';
import { openAddress } from './open-address.ts';
import type { ServerParts } from './parts.ts';

/** Where the gate listens: one server for each of its listeners. */
export interface Gate {
  /** By listener: `gate`, `gate:NAME`, `http`, `http:NAME`. */
  readonly addresses: ReadonlyMap<GateListenerConfig['name'], string>;
  /** Health says so first; then, after `authz.drain_time`, each listener lets its calls finish for `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

/**
 * The gate, with health and reflection at each listener, or undefined when the configuration has none. Throws
 * `config_invalid` for a descriptor file that cannot be read, and what a listener throws; then none is open.
 */
export async function startGate(parts: ServerParts): Promise<Gate | undefined> {
  const { config, policies, gateIdentity } = parts;
  const { authz } = config;
  if (authz === undefined || policies === undefined || gateIdentity === undefined) return undefined;
  const context: GateContext = {
    parts,
    authz,
    policies,
    gateIdentity,
    shared: await sharedOptions({ parts, authz, policies, gateIdentity }),
    isStopping: new Watchable(false),
  };
  warnOf(authz, context.shared.logger);
  warnOfHolders(parts, context.shared.logger);
  await using open = new AsyncDisposableStack();
  const servers = new Map<GateListenerConfig['name'], GrpcServer | PeerHttpServer>();
  const add = (name: GateListenerConfig['name'], server: GrpcServer | PeerHttpServer): void => {
    open.defer(() => server.stop(0));
    servers.set(name, server);
  };
  for (const listener of authz.listeners) add(listener.name, await startListener(listener, context));
  for (const listener of authz.httpListeners) add(listener.name, await startHttpListener(listener, context));
  open.move();
  return {
    addresses: new Map([...servers].map(([name, { address }]) => [name, address])),
    async stop(graceMs) {
      context.isStopping.set(true);
      await delay(authz.drainTimeMs);
      await Promise.all([...servers.values()].map((server) => server.stop(graceMs)));
    },
  };
}

function warnOf(authz: AuthzConfig, logger: Logger): void {
  if (authz.dryRun) logger.warn({}, 'dry run: what policies deny is let through');
  for (const policy of unservedPolicies(authz)) logger.warn({ policy }, 'no caller of any listener may ask for it');
  if (authz.pathGuard !== 'off') return;
  for (const { name, scheme } of authz.httpListeners) {
    if (scheme !== 'envoy')
      logger.warn({ listener: name }, 'paths are judged as they came, and routed otherwise: path_guard is off');
  }
}

/** Says once for each SPIFFE ID of the gate when an entry gives it to somebody, who could then answer in its name. */
function warnOfHolders({ config, registry }: ServerParts, logger: Logger): void {
  const said = new Set<SpiffeId>();
  const look = (): void => {
    const given = gateIdsOfEntries(config, registry.snapshot.value);
    for (const id of said) if (!given.includes(id)) said.delete(id);
    for (const id of given.filter((each) => !said.has(each))) {
      said.add(id);
      logger.warn({ spiffe_id: id }, 'an entry gives the spiffe id of the gate to callers');
    }
  };
  look();
  registry.snapshot.subscribe(look);
}

async function sharedOptions({
  parts,
  authz,
  policies,
  gateIdentity,
}: {
  readonly parts: ServerParts;
  readonly authz: AuthzConfig;
  readonly policies: PolicyEngine;
  readonly gateIdentity: GateIdentity;
}): Promise<GateContext['shared']> {
  const { config, registry, revocations, evidence } = parts;
  const remembered = rememberMatches(registry.snapshot, parts.clock);
  const egress = createEgressTokens(authz, parts.identities);
  return {
    policies,
    ...(evidence === undefined ? {} : { trials: evidence.trials }),
    ...(parts.decisionLog === undefined ? {} : { recorder: parts.decisionLog.recorder }),
    requests: gateIdentity.requests,
    attestor: parts.attestor,
    entries: {
      // Who lost its identity asks for nobody any more, even while its process and its entry are there.
      match: (selectors) =>
        remembered.match(selectors).filter(({ spiffeId }) => !revocations.snapshot.value.hasSpiffeId(spiffeId)),
    },
    ...(authz.denyUnregistered
      ? {
          // Who is registered in a foreign trust domain is not for us to know.
          isRegistered: (id) => trustDomainOf(id) !== config.trustDomain || registry.snapshot.value.hasSpiffeId(id),
        }
      : {}),
    onError: authz.onError,
    givesDenyBody: authz.denyBody === 'by_type',
    ...(egress === undefined ? {} : { egress }),
    rules: await checkRules(authz),
    clock: parts.clock,
    logger: parts.logger.child({ room: 'gate' }),
    metrics: parts.metrics,
  };
}

function startListener(listener: GateListenerConfig, context: GateContext): Promise<GrpcServer> {
  const { parts, authz, policies, shared, isStopping } = context;
  const { name, listen, tls: _tls, ...access } = listener;
  const methods = [
    ...createExtAuthzEndpoint({
      ...shared,
      access: { ...access, listener: name },
      maxRequestBytes: authz.maxRequestBytes,
      logger: shared.logger.child({ listener: name }),
    }),
    ...createHealthEndpoint({
      services: [serviceOf(AUTHORIZATION_SERVICE.check.path)],
      changes: combine(policies.status, isStopping, (status, stopping) => ({ status, stopping })),
      isServing: () => !isStopping.value && isEveryPolicyActive(listener, context),
    }),
  ];
  return startWireServer({
    name,
    address: openAddress(listen),
    ...tlsOf(listener, context),
    methods: [...methods, ...createReflectionEndpoint(methods)],
    identify: parts.tracker.identify,
    onPeer: (peer) => attestEarly(peer, parts),
    maxMessageBytes: authz.maxRequestBytes,
    anyAuthority: authz.anyAuthority,
    logger: parts.logger.child({ room: 'transport' }),
    metrics: parts.metrics,
  });
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

/** Every one that decides at this listener. */
function isEveryPolicyActive(listener: GateListenerConfig, { policies, parts: { evidence } }: GateContext): boolean {
  const { value } = policies.status;
  return [...listener.policies].every(
    (name) => value.get(name)?.state === 'active' || evidence?.isTrial(name) === true,
  );
}

/** `a.B` of `/a.B/Method`. */
function serviceOf(path: string): string {
  return path.split('/')[1] ?? '';
}
