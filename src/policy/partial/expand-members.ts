import type { Condition, Conjunction, Term } from './partial-evaluation.ts';

const MEMBER = 'internal.member_2';

/**
 * `input.attributes.request.http.method in ["GET", "PUT"]` as two conjunctions, and principals likewise; at most `limit` for one
 * conjunction, beyond which lists stay as they are.
 */
export function expandMembers(conjunction: Conjunction, limit: number): readonly Conjunction[] {
  let expanded: readonly (readonly Condition[])[] = [[]];
  for (const condition of conjunction.conditions) {
    const choices = choicesOf(condition);
    const fits = expanded.length * choices.length <= limit;
    expanded = expanded.flatMap((before) => (fits ? choices : [condition]).map((choice) => [...before, choice]));
  }
  return expanded.map((conditions) => ({ conditions, text: conditions.map(({ text }) => text).join('\n') }));
}

/** Who asks and what for. Other lists are conditions like any other. */
const TOLD_APART: ReadonlySet<string> = new Set([
  'input.svidgate.peer.spiffe_id',
  'input.attributes.source.principal',
  'input.source_principal',
  'input.attributes.request.http.method',
]);

/** The condition for each member alone; itself where it is nothing of the kind. */
function choicesOf(condition: Condition): readonly Condition[] {
  const { operator, negated, args: [needle, list] = [] } = condition;
  const members = list?.array ?? list?.set;
  const name = needle === undefined ? undefined : refText(needle);
  if (operator !== MEMBER || negated === true || needle === undefined) return [condition];
  if (name === undefined || !TOLD_APART.has(name)) return [condition];
  if (members === undefined || members.length < 2 || !members.every(isScalar)) return [condition];
  return members.map((member) => {
    const text = `${name} = ${JSON.stringify(member.value)}`;
    return { ...condition, operator: 'eq', args: [needle, member], text };
  });
}

function isScalar({ value }: Term): boolean {
  return value !== undefined && (typeof value !== 'number' || Number.isSafeInteger(value));
}

/** Rego of a reference with constant keys. */
function refText({ ref }: Term): string | undefined {
  const [head, ...keys] = ref ?? [];
  if (head?.var === undefined || !keys.every(isScalar)) return undefined;
  return [head.var, ...keys.map(({ value }) => (isName(value) ? `.${value}` : `[${JSON.stringify(value)}]`))].join('');
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z_]\w*$/.test(value);
}
