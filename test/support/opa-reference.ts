import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { buildGoProgram } from './go-program.ts';

export interface OpaReferenceOptions {
  /** `unix:PATH` or HOST:PORT; port 0 takes a free one. */
  readonly listen: string;
  /** By name; asked for as svidgate's are, by `context_extensions["svidgate.policy"]`. */
  readonly policies: Readonly<Record<string, OpaPolicy>>;
  /** FileDescriptorSet of gRPC services. */
  readonly protoDescriptorFile?: string;
  /** OPA's flag `--optimize-store-for-read-speed`. */
  readonly optimizesStore?: boolean;
  /** What starts it, such as `taskset -c 0`. */
  readonly command?: readonly string[];
  /** GOMAXPROCS. */
  readonly processors?: number;
}

export interface OpaPolicy {
  /** Folder or file with Rego and data. */
  readonly path: string;
  readonly entrypoint: string;
}

export interface OpaReference extends AsyncDisposable {
  readonly pid: number;
  /** As gRPC clients take it. */
  readonly address: string;
}

/** ext_authz by OPA itself, with the contract of its Envoy plugin: bench/peers/opa-ext-authz, built when it is first asked for. */
export async function startOpaReference(options: OpaReferenceOptions): Promise<OpaReference> {
  const program = await buildGoProgram(fileURLToPath(new URL('../../bench/peers/opa-ext-authz', import.meta.url)));
  const policies = Object.entries(options.policies).flatMap(([name, { path, entrypoint }]) => [
    '--policy',
    `${name}=${path},${entrypoint}`,
  ]);
  const more = [
    ...(options.protoDescriptorFile === undefined ? [] : ['--proto-descriptor', options.protoDescriptorFile]),
    ...(options.optimizesStore === true ? ['--optimize-store-for-read-speed'] : []),
  ];
  const [command = program, ...args] = [
    ...(options.command ?? []),
    program,
    '--end-with-input',
    '--listen',
    options.listen,
    ...policies,
  ];
  const child = spawn(command, [...args, ...more], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...(options.processors === undefined ? {} : { GOMAXPROCS: String(options.processors) }) },
  });
  const { value, done } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  if (done === true) throw new Error('the OPA reference server ended at its start');
  const { address } = JSON.parse(value) as { readonly address: string };
  return {
    pid: child.pid ?? -1,
    address: options.listen.startsWith('unix:') ? `unix:${address}` : address,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}
