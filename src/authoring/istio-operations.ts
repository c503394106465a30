import type { Manifest } from './istio-document.ts';
import type { Refuse } from './istio-rules.ts';
import type { RuleTarget } from './rules.ts';

const KEYS = ['methods', 'notMethods', 'paths', 'notPaths', 'hosts', 'notHosts'];
const ANYTHING: RuleTarget = { methods: [], notMethods: [], paths: [], notPaths: [], hosts: [], notHosts: [] };

/** What is asked for; empty for anything. A target for each kind of path: a prefix takes one of its own. */
export function operationsOf(to: Manifest, refuse: Refuse): readonly RuleTarget[] {
  if (to.value === undefined) return [];
  const { elements = [] } = to;
  if (elements.length === 0) refuse(to, 'not a list with elements', 'give a list, or leave it out');
  return elements.flatMap((element) => targetsOf(element.at('operation'), refuse));
}

function targetsOf(operation: Manifest, refuse: Refuse): readonly RuleTarget[] {
  for (const key of operation.keys.filter((each) => !KEYS.includes(each))) {
    refuse(operation.at(key), `\`${key}\` has no counterpart`, `${KEYS.join(', ')} can be kept`);
  }
  if (operation.keys.length === 0) refuse(operation, 'it names nothing', `give ${KEYS.join(', ')}`);
  const read = (key: string): readonly string[] => textsOf(operation.at(key), refuse);
  const base: RuleTarget = {
    ...ANYTHING,
    methods: methodsOf(operation.at('methods'), read('methods'), refuse),
    notMethods: notMethodsOf(operation.at('notMethods'), read('notMethods'), refuse),
    notPaths: read('notPaths').map((path) => wholePath(operation.at('notPaths'), path, refuse)),
    hosts: hostsOf(operation.at('hosts'), read('hosts'), refuse),
    notHosts: hostsOf(operation.at('notHosts'), read('notHosts'), refuse),
  };
  const paths = read('paths');
  // `*` is any path.
  if (paths.length === 0 || paths.includes('*'))
    return [base.notPaths.length === 0 && paths.includes('*') ? withAnyPath(base) : base];
  const prefixes = paths.filter((path) => path.endsWith('/*'));
  const whole = paths
    .filter((path) => !path.endsWith('/*'))
    .map((path) => wholePath(operation.at('paths'), path, refuse));
  return [
    ...(whole.length === 0 ? [] : [{ ...base, paths: whole }]),
    ...prefixes.map((prefix) => {
      const above = prefix.slice(0, -'/*'.length);
      // `/a/*` of Istio begins with `/a/`: unlike `/a/**` it is not `/a` itself.
      if (above === '') return { ...base, paths: ['/**'] };
      return {
        ...base,
        paths: [`${wholePath(operation.at('paths'), above, refuse)}/**`],
        notPaths: [...base.notPaths, wholePath(operation.at('paths'), above, refuse)],
      };
    }),
  ];
}

function withAnyPath(target: RuleTarget): RuleTarget {
  return { ...target, paths: ['/**'] };
}

/** `{*}` is one segment, as `*` of ours. */
function wholePath(at: Manifest, path: string, refuse: Refuse): string {
  const ours = path.replaceAll(/(?<=\/)\{\*\}(?=\/|$)/g, '*');
  const isPlain = /^\/(?:(?:\*|[A-Za-z0-9._~!$&'()+,=:@-]+)(?:\/(?:\*|[A-Za-z0-9._~!$&'()+,=:@-]+))*\/?)?$/.test(ours);
  if (!isPlain || path.includes('*') !== path.includes('{*}') || /(^|\/)\.{1,2}(\/|$)/.test(ours)) {
    refuse(
      at,
      `${JSON.stringify(path)} cannot be kept`,
      'use whole paths, `/a/*` for all beneath, or `{*}` for a segment',
    );
  }
  return ours;
}

function methodsOf(at: Manifest, methods: readonly string[], refuse: Refuse): readonly string[] {
  if (methods.join() === '*') return [];
  for (const method of methods) {
    if (!/^[A-Z][A-Z-]{0,31}$/.test(method))
      refuse(at, `${JSON.stringify(method)} cannot be kept`, 'use whole methods');
  }
  return methods;
}

/** `*` here is no method at all. */
function notMethodsOf(at: Manifest, methods: readonly string[], refuse: Refuse): readonly string[] {
  if (methods.includes('*')) refuse(at, 'it fits no request', 'list the methods that are not meant');
  return methodsOf(at, methods, refuse);
}

/** Ours are without ports: in Istio a host with any port is a second text. */
function hostsOf(at: Manifest, hosts: readonly string[], refuse: Refuse): readonly string[] {
  const lower = new Set(hosts.map((host) => host.toLowerCase()));
  const names = [...lower].filter((host) => !host.endsWith(':*'));
  for (const name of names) {
    if (!lower.has(`${name}:*`))
      refuse(at, `${JSON.stringify(name)} is without any port there`, `add "${name}:*" beside it`);
    if (!/^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/.test(name)) {
      refuse(at, `${JSON.stringify(name)} cannot be kept`, 'use whole names, or `*.` and the end of one');
    }
  }
  for (const host of lower) {
    if (host.endsWith(':*') && !lower.has(host.slice(0, -2))) {
      refuse(at, `${JSON.stringify(host)} needs a port`, `add "${host.slice(0, -2)}" beside it`);
    }
  }
  return names;
}

function textsOf(list: Manifest, refuse: Refuse): readonly string[] {
  if (list.value === undefined) return [];
  const texts = (list.elements ?? []).map(({ value }) => value);
  if (texts.length === 0 || texts.some((text) => typeof text !== 'string' || text === '')) {
    refuse(list, 'not a list of texts', 'give texts, or leave it out');
  }
  return texts.filter((text): text is string => typeof text === 'string');
}
