/**
 * How Node runs the server. No code from strings: one way less into a process that holds keys. Of the interfaces that Node
 * calls experimental the program uses WASI, and the warning would be the first line of every server's log. A young
 * generation of half its usual size: a thousand streams that come at once otherwise leave 40 MB behind that nobody uses.
 * The machine code of a WASM module goes with the module, and not before: V8's collection of such code ends the process
 * now and then while a module is instantiated (nodejs/node#64500), and each change of a policy instantiates one.
 */
export const NODE_FLAGS = [
  '--disallow-code-generation-from-strings',
  '--disable-warning=ExperimentalWarning',
  '--max-semi-space-size=8',
  '--no-wasm-code-gc',
];
