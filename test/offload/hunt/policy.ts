import { createHash } from 'node:crypto';
import type { PolicySnapshot } from '../../../src/policy/index.ts';
import type { Draw } from './draw.ts';

/** A policy of the hunt, with requests that it is meant for. */
export interface HuntPolicy {
  readonly name: string;
  readonly snapshot: PolicySnapshot;
  /** Slash-separated path of the rule that decides. */
  readonly entrypoint: string;
  /** Most are allowed by it. */
  readonly aims: readonly Aim[];
}

export type Aim = Partial<Draw>;

/** What one is written as: rules of a package of its own, after PRELUDE. */
export interface WrittenPolicy {
  readonly name: string;
  readonly rules: string;
  readonly aims: readonly Aim[];
  /** Instead of `default allow := false`. */
  readonly start?: string;
}

const PRELUDE = `
http := input.attributes.request.http

headers := input.attributes.request.http.headers

peer := input.svidgate.peer.spiffe_id if input.svidgate.peer.verified

alice := "spiffe://example.test/alice"

bob := "spiffe://example.test/bob"
`;

const textOf = ({ rules, start = 'default allow := false' }: WrittenPolicy, name: string): string =>
  `package hunt.${name}\n\n${start}\n${PRELUDE}\n${rules}\n`;

/** By itself. */
export function singlePolicy(written: WrittenPolicy): HuntPolicy {
  const { name, aims } = written;
  const snapshot = snapshotOf({ [`${name}.rego`]: textOf(written, name) });
  return { name, snapshot, entrypoint: `hunt/${name}/allow`, aims };
}

/** Many as one, which costs a compiler's run once: which of them decides is said by a header. */
export function joinedPolicy(name: string, all: readonly WrittenPolicy[]): HuntPolicy {
  const rules = all.map((each) => {
    return `allow if {\n\tcontains(input.attributes.request.http.headers["x-rule"], "[${each.name}]")\n\tdata.hunt.${each.name}.allow == true\n}`;
  });
  const modules = Object.fromEntries(all.map((each) => [`${each.name}.rego`, textOf(each, each.name)]));
  const main = ['package hunt', 'default allow := false', ...rules].join('\n\n');
  return {
    name,
    snapshot: snapshotOf({ ...modules, 'main.rego': main }),
    entrypoint: 'hunt/allow',
    aims: all.flatMap((each) =>
      each.aims.map((aim) => ({ ...aim, headers: [['x-rule', `[${each.name}]`] as const, ...(aim.headers ?? [])] })),
    ),
  };
}

export function snapshotOf(
  modules: Readonly<Record<string, string>>,
  data: Readonly<Record<string, string>> = {},
): PolicySnapshot {
  const digest = createHash('sha256')
    .update(JSON.stringify([modules, data]))
    .digest('hex');
  return { files: { modules, data }, tests: {}, digest };
}

/** Texts that its files name. */
export function wordsOf({ snapshot }: HuntPolicy): readonly string[] {
  const texts = [...Object.values(snapshot.files.modules), ...Object.values(snapshot.files.data)];
  const words = texts.flatMap((text) => [...text.matchAll(/"([^"\n]{1,40})"/g)].map(([, word = '']) => word));
  return [...new Set(words)];
}
