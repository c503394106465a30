/** Thread that runs the Rego compiler once: a WASI program that sees no file, no argument and no environment. */
import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { basename } from 'node:path';
import { workerData } from 'node:worker_threads';
import { WASI } from 'node:wasi';
import type { CompilerJob, CompilerResult } from './compiler-process.ts';
import { createStandardStreams } from './wasi-streams.ts';

function runJob(job: CompilerJob): CompilerResult {
  const wasi = new WASI({ version: 'preview1', args: ['rego-compiler'], env: {}, preopens: {} });
  const streams = createStandardStreams(job.request, job.outputLimitBytes);
  const imports = { ...wasi.wasiImport, ...streams.imports };
  const instance = new WebAssembly.Instance(job.module, { wasi_snapshot_preview1: imports });
  streams.attach(instance.exports['memory'] as WebAssembly.Memory);
  const exitCode = wasi.start(instance);
  return { exitCode, stdout: streams.stdout(), stderr: streams.stderr() };
}

/** How far below the threads that answer requests. */
const NICENESS = 10;

/** On Linux a priority belongs to a thread. Decisions must not wait for a compilation where processors are few. */
function yieldToDecisions(): void {
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), NICENESS);
  } catch {
    // without /proc, or not permitted: it is a courtesy only
  }
}

yieldToDecisions();
const job = workerData as CompilerJob;
const { port } = job;
const result = runJob(job);
port.postMessage(result);
