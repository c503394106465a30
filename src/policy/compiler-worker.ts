/** Thread that runs the Rego compiler once: a WASI program that sees no file, no argument and no environment. */
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

const job = workerData as CompilerJob;
const { port } = job;
const result = runJob(job);
port.postMessage(result);
