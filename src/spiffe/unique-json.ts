/**
 * JSON.parse that refuses an object with the same key twice: which of the two counts differs between parsers, so a
 * document could say one thing to us and another to the next reader. Throws a SyntaxError.
 */
export function parseUniqueJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  assertUniqueKeys(text);
  return value;
}

/** Takes JSON that has been parsed already, so that brackets match and strings end. */
function assertUniqueKeys(text: string): void {
  const open: (Set<string> | undefined)[] = []; // undefined: a list
  let expectsKey = false;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]/gsu)) {
    if (token === '{' || token === '[') {
      open.push(token === '{' ? new Set() : undefined);
      expectsKey = token === '{';
    } else if (token === '}' || token === ']') {
      open.pop();
      expectsKey = false;
    } else if (token === ',') {
      expectsKey = open.at(-1) !== undefined;
    } else if (token === ':') {
      expectsKey = false;
    } else if (expectsKey) {
      const keys = open.at(-1);
      const key = JSON.parse(token) as string;
      if (keys?.has(key) === true) throw new SyntaxError(`the key ${JSON.stringify(key.slice(0, 64))} stands twice`);
      keys?.add(key);
    }
  }
}
