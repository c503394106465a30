import { join } from 'node:path';
import { systemClock, type Clock, type LogFields, type Logger, type Metrics } from '../../../src/core/index.ts';
import {
  createSecretStore,
  type AllowedFolder,
  type ConfiguredSecret,
  type FollowedSecret,
  type SecretContent,
  type SecretStore,
} from '../../../src/secrets/index.ts';
import { parseSpiffeId, parseSpiffeIdPattern } from '../../../src/spiffe/index.ts';
import { makeOutsideCa, type OutsideCaRequest } from '../../support/outside-ca.ts';
import { waitUntil } from '../../support/wait-until.ts';

export const GATEWAY = parseSpiffeId('spiffe://example.test/gateway');
export const STRANGER = parseSpiffeId('spiffe://example.test/stranger');
export const ALLOW = [parseSpiffeIdPattern(GATEWAY)];
export const LIMIT_MS = 15_000;

export interface Line extends LogFields {
  readonly level: string;
  readonly message: string;
}

/** What was logged and counted. */
export interface Told {
  readonly lines: Line[];
  readonly counts: string[];
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export function listen(): Told {
  const lines: Line[] = [];
  const counts: string[] = [];
  const at = (level: string) => (fields: LogFields, message: string) => void lines.push({ ...fields, level, message });
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  const metrics: Metrics = {
    count: (name) => void counts.push(name),
    gauge: () => undefined,
    observe: () => undefined,
  };
  return { lines, counts, logger, metrics };
}

export interface OpenStore extends AsyncDisposable, Told {
  readonly store: SecretStore;
}

export interface StoreRequest {
  readonly secrets?: Readonly<Record<string, ConfiguredSecret>>;
  readonly folders?: readonly AllowedFolder[];
  readonly dataDir: string;
  readonly clock?: Clock;
  readonly random?: (size: number) => Uint8Array;
}

/** A store that runs. */
export async function openStore(request: StoreRequest): Promise<OpenStore> {
  const { secrets = {}, folders = [], dataDir, clock = systemClock, random } = request;
  const told = listen();
  const store = await createSecretStore({
    secrets: new Map(Object.entries(secrets)),
    folders,
    dataDir,
    clock,
    ...(random === undefined ? {} : { random }),
    logger: told.logger,
    metrics: told.metrics,
  });
  const stop = new AbortController();
  const running = store.run(stop.signal);
  return {
    ...told,
    store,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

/** One who may have the secret, and what it was told. */
export class Follower implements Disposable {
  changes = 0;
  readonly followed: FollowedSecret;

  constructor(store: SecretStore, name: string) {
    const followed = store.follow(name, () => (this.changes += 1));
    if (followed === undefined) throw new Error(`${name} means nothing`);
    this.followed = followed;
    if (!followed.allows([GATEWAY])) throw new Error(`${name} is not allowed`);
  }

  get content(): SecretContent | undefined {
    return this.followed.content;
  }

  async until(holds: (content: SecretContent) => boolean): Promise<SecretContent> {
    return await waitUntil('the content', LIMIT_MS, () => {
      const { content } = this;
      return content !== undefined && holds(content) && content;
    });
  }

  [Symbol.dispose](): void {
    this.followed[Symbol.dispose]();
  }
}

/** NAME.pem and NAME.key in the folder, signed by itself: a certificate of a host, unless something else is asked for. */
export async function makeCertificate(folder: string, request: OutsideCaRequest): Promise<string> {
  await makeOutsideCa(folder, { constraints: 'critical,CA:FALSE', usage: 'critical,digitalSignature', ...request });
  return join(folder, request.name);
}
