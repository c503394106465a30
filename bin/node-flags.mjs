/**
 * How Node runs the server. No code from strings: one way less into a process that holds keys. Of the interfaces that Node
 * calls experimental the program uses WASI, and the warning would be the first line of every server's log. A young
 * generation of half its usual size: a thousand streams that come at once otherwise leave 40 MB behind that nobody uses.
 */
export const NODE_FLAGS = [
  '--disallow-code-generation-from-strings',
  '--disable-warning=ExperimentalWarning',
  '--max-semi-space-size=8',
];
