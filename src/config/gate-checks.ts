import { trustDomainOf, type SpiffeIdPattern, type TrustDomain } from '../spiffe/index.ts';
import { describeValue } from './explain.ts';
import type { ReportMistake } from './fields.ts';
import { checkHttpListeners, httpListenersOf } from './gate-http-config.ts';
import { askable, type RawGate, type RawListener, type RawPolicies } from './gate-config.ts';
import { formatListenAddress, isLoopback } from './listen-address.ts';
import type { DocumentPath } from './mistake.ts';

/** A section whose keys are there unless they are wrong by themselves. */
type Given = Partial<RawGate> & { readonly policies?: RawPolicies | undefined };

/** Each listener with its way from `authz`, and what of it is there. */
function listenersOf(
  authz: Partial<RawGate>,
): readonly (readonly [path: DocumentPath, listener: Partial<RawListener>])[] {
  const { listen, tls, callers, http } = authz;
  const first = { ...(listen === undefined ? {} : { listen }), tls, callers };
  const further = Object.entries(authz.listeners ?? {}).map(
    ([name, listener]) => [['listeners', name], listener] as const,
  );
  return [[[], first], ...further, ...httpListenersOf(http)];
}

/** As it is written in messages. */
function keyOf(path: DocumentPath, key: string): string {
  return ['authz', ...path, key].map(String).join('.');
}

/** Who can connect to each listener, and what can be asked for there. For the section `authz`. */
export function checkGate(authz: Given, report: ReportMistake, wrong: ReadonlySet<PropertyKey>): void {
  const policies = wrong.has('policies') ? undefined : new Set(askable(authz.policies ?? {}));
  checkHttpListeners(authz.http, report);
  for (const [path, listener] of listenersOf(authz)) {
    // What is wrong by itself might have been right.
    if (path.length > 0 || !['listen', 'tls', 'callers'].some((key) => wrong.has(key))) {
      checkReach(listener, path, report);
    }
    checkListenerPolicies(listener, { path, policies, report });
  }
}

function checkReach({ listen, tls, callers }: Partial<RawListener>, path: DocumentPath, report: ReportMistake): void {
  if (listen === undefined) return;
  if (listen.kind === 'unix') {
    if (tls === undefined) return;
    const message = `\`${keyOf(path, 'tls')}\` has no meaning on a Unix socket`;
    report([...path, 'tls'], message, 'leave it out: the kernel tells who asks there');
  } else if (tls === undefined) {
    const isHttp = path[0] === 'http';
    if (isHttp || !isLoopback(listen.host)) {
      const message = `\`${keyOf(path, 'listen')}\` is ${describeValue(formatListenAddress(listen))}`;
      report([...path, 'listen'], message, isHttp ? PROVEN : LOOPBACK);
    }
    if (isHttp) return;
    if (callers === undefined) return;
    const message = `\`${keyOf(path, 'callers')}\` has no meaning here: nobody is proven on TCP without TLS`;
    report([...path, 'callers'], message, 'leave it out, set `tls`, or listen on a Unix socket');
  } else if (callers === undefined) {
    const message = `\`${keyOf(path, 'callers')}\` is missing`;
    report([...path, 'tls'], message, '`tls` needs the SPIFFE IDs that may ask');
  }
}

/** Whoever can forge an HTTP request on this machine must not ask in the name of a proxy. */
const PROVEN = 'a Unix socket (unix:PATH), or `tls` with `callers`, is required';

const LOOPBACK =
  'a Unix socket (unix:PATH) or a loopback address (127.0.0.1:PORT, [::1]:PORT) is required where there is no `tls`';

interface PolicyCheck {
  readonly path: DocumentPath;
  /** Undefined when that section is wrong. */
  readonly policies: ReadonlySet<string> | undefined;
  readonly report: ReportMistake;
}

function checkListenerPolicies(listener: Partial<RawListener>, { path, policies, report }: PolicyCheck): void {
  const isKnown = (name: string, place: DocumentPath): boolean => {
    if (policies === undefined || policies.has(name)) return true;
    report(place, `there is no policy \`${name}\``, 'name one of `authz.policies` that is no shadow');
    return false;
  };
  const given = listener.policies === undefined ? undefined : new Set(listener.policies);
  const isServed = (name: string, place: DocumentPath): void => {
    if (!isKnown(name, place) || given === undefined || given.has(name)) return;
    report(place, `\`${name}\` is none of the policies of this listener`, `add it to \`${keyOf(path, 'policies')}\``);
  };
  for (const [index, name] of (listener.policies ?? []).entries()) isKnown(name, [...path, 'policies', index]);
  const { default_policy: defaultPolicy } = listener;
  const { listen, tls } = listener;
  // A default that is not served is right where every caller names a policy: those that do not are denied.
  if (defaultPolicy !== undefined && defaultPolicy !== 'default') isServed(defaultPolicy, [...path, 'default_policy']);
  else if (
    defaultPolicy !== undefined &&
    given?.has(defaultPolicy) === false &&
    listen?.kind === 'tcp' &&
    path[0] !== 'http' &&
    tls === undefined
  ) {
    const message = `\`${keyOf(path, 'default_policy')}\` is missing`;
    report([...path, 'policies'], message, 'callers on TCP without TLS get no other policy than that one');
  }
  for (const [index, caller] of (listener.callers ?? []).entries()) {
    for (const [at, name] of (caller.policies ?? []).entries())
      isServed(name, [...path, 'callers', index, 'policies', at]);
  }
}

/** What the gate shows is of our own trust domain, and so is whoever is attested. For the whole configuration. */
export function checkGateTrustDomain(
  config: { readonly trust_domain?: TrustDomain | undefined; readonly authz?: Partial<RawGate> | undefined },
  report: ReportMistake,
): void {
  const { trust_domain: own, authz } = config;
  if (own === undefined || authz === undefined) return;
  for (const [path, { listen, tls, callers = [] }] of listenersOf(authz)) {
    const place = ['authz', ...path];
    if (tls !== undefined && trustDomainOf(tls.spiffe_id) !== own) {
      const message = `\`${tls.spiffe_id}\` is not of trust domain \`${own}\``;
      report([...place, 'tls', 'spiffe_id'], message, 'name an ID that svidgate can sign for');
    }
    if (listen?.kind !== 'unix') continue;
    for (const [index, { spiffe_id: pattern }] of callers.entries()) {
      if (trustDomainOfPattern(pattern) === own) continue;
      const message = `no attested caller is of another trust domain than \`${own}\``;
      report([...place, 'callers', index, 'spiffe_id'], message, 'leave it out, or let it connect with `tls`');
    }
  }
}

function trustDomainOfPattern(pattern: SpiffeIdPattern): string {
  const text = pattern.kind === 'exact' ? pattern.spiffeId : pattern.prefix;
  return text.split('/')[2] ?? '';
}
