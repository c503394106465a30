/**
 * Hands over to another Node: becomes it where this Node can, else runs it and is as transparent as a parent can be.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** @type {readonly NodeJS.Signals[]} */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGCONT'];

/**
 * Does not return: the process ends as the given Node ends, with its exit code or by its signal.
 * @param {string} node absolute path of an executable that exists
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
export function runNode(node, args, env) {
  // In newer versions of Node; no process stays in between, so there is nothing to forward.
  if (typeof process.execve === 'function') process.execve(node, [node, ...args], definedOnly(env));
  const child = spawn(node, args, { stdio: 'inherit', env });
  const forward = (/** @type {NodeJS.Signals} */ name) => {
    if (name === 'SIGINT' && terminalSentIt()) return;
    child.kill(name);
  };
  for (const name of FORWARDED) process.on(name, forward);
  const endChild = () => child.kill('SIGTERM');
  process.on('exit', endChild);
  child.once('error', (error) => {
    process.stderr.write(`svidgate: cannot start ${node}: ${error.message}\n`);
    process.exit(1);
  });
  child.once('exit', (code, signal) => {
    process.removeListener('exit', endChild);
    for (const name of FORWARDED) process.removeListener(name, forward);
    if (signal !== null) process.kill(process.pid, signal);
    process.exit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
  });
}

/**
 * True when Ctrl-C has reached the child already: a terminal sends it to its whole foreground process group, and
 * forwarding it would look like a second, impatient one.
 */
function terminalSentIt() {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    // proc(5): the fields after the name in parentheses are state, ppid, pgrp, session, tty_nr, tpgid.
    const [, , group, , , foregroundGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return group === foregroundGroup;
  } catch {
    return false;
  }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Record<string, string>}
 */
function definedOnly(env) {
  return Object.fromEntries(Object.entries(env).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])));
}
