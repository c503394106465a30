/** Texts that YAML reads as texts without quotes. */
const PLAIN = /^(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z_@/][A-Za-z0-9_./-]*$/i;

/** JSON values as YAML in blocks. What is undefined is left out. */
export function yamlText(value: unknown): string {
  const lines = Array.isArray(value) ? listLines(value) : mapLines(value as Readonly<Record<string, unknown>>);
  return `${lines.join('\n')}\n`;
}

function mapLines(map: Readonly<Record<string, unknown>>): readonly string[] {
  return Object.entries(map).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const name = `${scalar(key)}:`;
    if (isEmpty(value)) return [`${name} ${flow(value)}`];
    if (Array.isArray(value)) return [name, ...listLines(value)];
    return typeof value === 'object' && value !== null
      ? [name, ...mapLines(value as Readonly<Record<string, unknown>>).map((line) => `  ${line}`)]
      : [`${name} ${flow(value)}`];
  });
}

function listLines(list: readonly unknown[]): readonly string[] {
  return list.flatMap((value) => {
    const isScalar = typeof value !== 'object' || value === null;
    if (isScalar || isEmpty(value)) return [`- ${flow(value)}`];
    const [first = '', ...others] = Array.isArray(value)
      ? listLines(value)
      : mapLines(value as Readonly<Record<string, unknown>>);
    return [`- ${first}`, ...others.map((line) => `  ${line}`)];
  });
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function flow(value: unknown): string {
  return typeof value === 'string' ? scalar(value) : JSON.stringify(value);
}

/** Quoted as JSON does where YAML would read something else. */
function scalar(text: string): string {
  // `@` begins no plain text.
  return PLAIN.test(text) && !text.startsWith('@') ? text : JSON.stringify(text);
}
