import { systemClock } from '../../../src/core/index.ts';
import type { GateFacts, TranslatedPolicy } from '../../../src/offload/index.ts';
import { translatePolicy, type Translators } from '../../../src/offload/translate/index.ts';
import { createRegoCompiler } from '../../../src/policy/rego-compiler.ts';
import {
  createRegoProgram,
  offeredBuiltins,
  openPolicy,
  snapshotSource,
  type OpenedPolicy,
  type RegoProgram,
} from '../../../src/policy/index.ts';
import { generatedPolicy } from './generated.ts';
import { shrink, type HuntFailure, type HuntOptions, type Prepared } from './hunt.ts';
import { joinedPolicy, singlePolicy, type HuntPolicy, type WrittenPolicy } from './policy.ts';
import { shippedPolicies } from './shipped.ts';
import type { Stage } from './stage.ts';
import { WRITTEN_CONFLICTS } from './written-conflicts.ts';
import { WRITTEN_FORMS } from './written-forms.ts';
import { WRITTEN_NESTED } from './written-nested.ts';
import { WRITTEN_PATHS } from './written-paths.ts';
import { WRITTEN_VALUES } from './written-values.ts';
import { WRITTEN_WHO } from './written-who.ts';

const NEVER = new AbortController().signal;

/** Compiles and translates policies of the hunt. */
export interface Workshop {
  prepare(policy: HuntPolicy): Promise<Prepared & AsyncDisposable>;
  /** Only what is made for Envoy, perhaps in another way: what was evaluated once is not again. */
  translate(policy: HuntPolicy, otherwise?: Otherwise): Promise<TranslatedPolicy>;
}

export interface Otherwise {
  readonly translators?: Translators;
  readonly gate?: (gate: GateFacts) => GateFacts;
}

export function createWorkshop(gate: GateFacts): Workshop {
  const program = remember(createRegoProgram({ clock: systemClock, timeLimitMs: 120_000 }));
  const compiler = createRegoCompiler({ clock: systemClock, program, builtins: offeredBuiltins(true) });
  const translate: Workshop['translate'] = async ({ name, snapshot, entrypoint }, otherwise = {}) => {
    const { translators, gate: change = (same: GateFacts) => same } = otherwise;
    const question = { policy: name, snapshot, entrypoint, program, gate: change(gate), fastDeny: true, signal: NEVER };
    return await translatePolicy({ ...question, ...(translators === undefined ? {} : { translators }) });
  };
  return {
    translate,
    async prepare(policy) {
      const { name, snapshot, entrypoint } = policy;
      const [translated, opened] = await Promise.all([
        translate(policy),
        openPolicy({ path: snapshotSource(name, snapshot), entrypoint, compiler, signal: NEVER }),
      ]);
      return withEnd({ policy, translated, opened });
    },
  };
}

/** The same question has the same answer. */
function remember(program: RegoProgram): RegoProgram {
  const known = new Map<string, Promise<unknown>>();
  return {
    digest: () => program.digest(),
    async run(request, signal) {
      const key = JSON.stringify(request);
      const answer = known.get(key) ?? program.run(request, signal);
      known.set(key, answer);
      return await answer;
    },
  };
}

function withEnd<T extends { readonly opened: OpenedPolicy }>(prepared: T): T & AsyncDisposable {
  return { ...prepared, [Symbol.asyncDispose]: () => prepared.opened[Symbol.asyncDispose]() };
}

const GENERATED = 24;

const generated = (): readonly WrittenPolicy[] =>
  Array.from({ length: GENERATED }, (_, index) => generatedPolicy(index));

/** Each by itself. */
export async function allPolicies(): Promise<readonly HuntPolicy[]> {
  const written = [
    ...WRITTEN_PATHS,
    ...WRITTEN_WHO,
    ...WRITTEN_FORMS,
    ...WRITTEN_VALUES,
    ...WRITTEN_NESTED,
    ...WRITTEN_CONFLICTS,
  ];
  return [...(await shippedPolicies()), ...[...written, ...generated()].map(singlePolicy)];
}

/** Those whose decision is an object, or may conflict, cannot be asked by another policy as the others. */
const ALONE: ReadonlySet<string> = new Set(['conflicts', 'functions', 'objects', 'odd_objects']);

/** As many in few modules, for a run that is short. */
export async function joinedPolicies(): Promise<readonly HuntPolicy[]> {
  const [table] = await shippedPolicies();
  const forms = WRITTEN_FORMS.filter(({ name }) => !ALONE.has(name));
  return [
    ...(table === undefined ? [] : [table]),
    joinedPolicy('written_paths', WRITTEN_PATHS),
    joinedPolicy('written_who', WRITTEN_WHO),
    joinedPolicy('written_forms', forms),
    joinedPolicy('written_values', [...WRITTEN_VALUES, ...WRITTEN_NESTED]),
    joinedPolicy('generated', generated()),
  ];
}

/** With the requests for one of those that were joined. */
export function focusedOn(policy: HuntPolicy, name: string): HuntPolicy {
  const aims = policy.aims.filter(({ headers = [] }) => headers.some(([, value]) => value === `[${name}]`));
  if (aims.length === 0) throw new Error(`${policy.name} has no ${name}`);
  return { ...policy, aims };
}

export function findPolicy(name: string, policies: readonly HuntPolicy[]): HuntPolicy {
  const found = policies.find((policy) => policy.name === name);
  if (found === undefined) throw new Error(`there is no policy ${name}`);
  return found;
}

/** What is to be read of failures: the first of each rule in its least form, and how to see it again. */
export async function report(
  failures: readonly HuntFailure[],
  about: { readonly prepared: Prepared; readonly stage: Stage; readonly options?: Pick<HuntOptions, 'spoil'> },
): Promise<string> {
  const first = new Map(failures.map((failure) => [`${failure.what} ${failure.rule ?? ''}`, failure]));
  const lines: string[] = [];
  for (const failure of [...first.values()].slice(0, 4)) {
    const least = await shrink(failure, { options: {}, ...about });
    const { what, policy, moment, rule, answer, draw } = least;
    const said = answer.isAllowed
      ? answer.isPlain
        ? 'allows'
        : 'allows, and changes something'
      : `denies: ${answer.reason}`;
    lines.push(`${what}: ${policy}, ${moment}, ${rule ?? 'outer'}: the gate ${said}`);
    const found = about.prepared.translated.rules.find(({ id }) => id === rule);
    if (found !== undefined) {
      lines.push(`  rule ${JSON.stringify({ request: found.request, peer: found.peer, caller: found.caller })}`);
      lines.push(`  from ${found.origin.map((each) => `${each.file}:${each.line}`).join(', ')}`);
    }
    const text = JSON.stringify({ policy, moment, draw }).replaceAll("'", String.raw`\u0027`);
    lines.push(`  node test/offload/hunt/replay.ts '${text}'`);
  }
  return lines.join('\n');
}
