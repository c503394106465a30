/** `rule_orders_read_stock` for `Orders read stock`. Never with two underscores together: that is for its parts. */
export function ruleName(name: string): string {
  return `rule_${name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replace(/_$/, '')}`;
}

/** The name of what a rule is made of, which no rule can have. */
export function partName(rule: string, part: string): string {
  return `${rule}__${part}`;
}

/** A string as Rego reads it: JSON. */
export function literal(text: string): string {
  return JSON.stringify(text);
}

/** `{"a", "b"}`, in the order given. */
export function setOf(texts: readonly string[]): string {
  return `{${texts.map(literal).join(', ')}}`;
}

/** `value == "a"`, or `value in {"a", "b"}`. */
export function isOneOf(value: string, texts: readonly string[]): string {
  const [only = ''] = texts;
  return texts.length === 1 ? `${value} == ${literal(only)}` : `${value} in ${setOf(texts)}`;
}

/** `name if expression` on one line where it is one short expression, else with braces. */
export function ruleText(head: string, body: readonly string[]): string {
  const [only = '', ...more] = body;
  if (more.length === 0 && head.length + only.length < 110) return `${head} if ${only}`;
  return `${head} if {\n${body.map((line) => `\t${line}`).join('\n')}\n}`;
}
