import {
  createBackoff,
  describeError,
  SvidgateError,
  untilAborted,
  Watchable,
  type Clock,
  type Logger,
  type Metrics,
} from '../../core/index.ts';
import { pemCertificates, pemEncode, type Certificate } from '../../pki/index.ts';
import type { MintedCa, UpstreamAuthority } from '../upstream-authority.ts';
import type { VaultClient, VaultRequest } from '../vault-client.ts';
import type { Json } from '../vault-connection.ts';
import { encodePath } from '../vault-login.ts';
import { pathToRoot, readCertificate, sameCertificates, toMintedCa, type CaPath } from './ca-path.ts';

export interface VaultPkiUpstreamOptions {
  /** Closed when `run` ends. */
  readonly client: VaultClient;
  /** Where the PKI engine is mounted; its default issuer signs, and must come with all certificates up to a root. */
  readonly mount: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** How often to look for another root, in milliseconds; default one minute. */
  readonly refreshMs?: number;
}

const REFRESH_MS = 60_000;

/**
 * The PKI engine of Vault or OpenBao. Its root is known once it has answered for the first time; until then there are no
 * roots. Throws `config_invalid` for a mount that cannot be.
 */
export function createVaultPkiUpstream(options: VaultPkiUpstreamOptions): UpstreamAuthority {
  return new VaultPkiUpstream(options);
}

class VaultPkiUpstream implements UpstreamAuthority {
  readonly kind = 'vault';
  readonly roots = new Watchable<readonly Uint8Array[]>([]);
  readonly #options: VaultPkiUpstreamOptions;
  readonly #mount: string;
  readonly #where: string;

  constructor(options: VaultPkiUpstreamOptions) {
    this.#options = options;
    this.#mount = encodePath(options.mount);
    this.#where = `Vault's ${options.mount}`;
  }

  async mintCa({ csr, ttlMs, signal }: Parameters<UpstreamAuthority['mintCa']>[0]): Promise<MintedCa> {
    const { notAfter } = await this.#readPath(signal);
    // The server would refuse a CA that ends after its own, or give one that outlives it by a second.
    const seconds = Math.floor(Math.min(ttlMs, notAfter - this.#options.clock.now()) / 1000);
    if (seconds < 1) throw failed(`${this.#where}: its CA is about to end`);
    const body = {
      csr: pemEncode('CERTIFICATE REQUEST', csr),
      // Subject, key usage and the trust domain's URI as in the request.
      use_csr_values: true,
      common_name: '',
      max_path_length: 0,
      ttl: `${seconds}s`,
      format: 'pem',
    };
    const answer = await this.#send({ method: 'POST', path: 'root/sign-intermediate', body, signal });
    const [certificate] = pemCertificates(textOf(answer?.['certificate']));
    if (certificate === undefined) throw failed(`${this.#where} gave no certificate`);
    const path = this.#pathIn([answer?.['issuing_ca'], answer?.['ca_chain']], certificate);
    this.#learn(path);
    return await toMintedCa({ csr, certificate, path }, { where: this.#where, now: this.#options.clock.now() }).catch(
      (cause: unknown) => {
        if (cause instanceof SvidgateError && cause.code === 'upstream_failed') throw cause;
        throw failed(`${this.#where}: no CA could be signed`, cause);
      },
    );
  }

  async run(signal: AbortSignal): Promise<void> {
    const { client, clock, logger, metrics, refreshMs = REFRESH_MS } = this.#options;
    const backoff = createBackoff({ baseMs: 1000, maxMs: refreshMs });
    let told = '';
    try {
      while (!signal.aborted) {
        let waitMs = refreshMs;
        try {
          await this.#readPath(signal);
          backoff.reset();
          told = '';
        } catch (error) {
          if (signal.aborted) break;
          waitMs = backoff.next();
          const reason = describeError(error);
          if (reason !== told) {
            metrics.count('svidgate_reload_failures_total', { source: 'upstream' });
            logger.warn({ error_code: 'upstream_failed', reason }, 'upstream authority not reached');
          }
          told = reason;
        }
        await untilAborted(signal, clock.sleep(waitMs, signal));
      }
    } finally {
      await client.close();
    }
  }

  /** The path of the issuer that signs now. */
  async #readPath(signal: AbortSignal): Promise<CaPath> {
    const answer = await this.#send({ method: 'GET', path: 'cert/ca_chain', signal });
    const path = this.#pathIn([answer?.['ca_chain'], answer?.['certificate']]);
    this.#learn(path);
    return path;
  }

  #learn({ root }: CaPath): void {
    if (!sameCertificates([root.der], this.roots.value)) this.roots.set([root.der]);
  }

  /** The path from the one that signed `signed`, else from the first, which is the issuer. */
  #pathIn(sources: readonly unknown[], signed?: Uint8Array): CaPath {
    const found = sources
      .flatMap((source) => pemCertificates(textOf(source)))
      .map((der) => readCertificate(der, this.#where));
    const others = signed === undefined ? found : found.filter(({ der }) => !Buffer.from(der).equals(signed));
    const issuer = signed === undefined ? others[0] : issuerOf(readCertificate(signed, this.#where), others);
    if (issuer === undefined) throw failed(`${this.#where} does not show the CA that signs`);
    return pathToRoot(issuer, others, { where: this.#where, now: this.#options.clock.now() });
  }

  async #send(request: Omit<VaultRequest, 'failsAs'>): Promise<Json | undefined> {
    const path = `${this.#mount}/${request.path}`;
    return await this.#options.client.send({ ...request, path, failsAs: 'upstream_failed' });
  }
}

function issuerOf(certificate: Certificate, others: readonly Certificate[]): Certificate | undefined {
  return others.find((other) => certificate.isSignedBy(other));
}

/** PEM, in one text or a list of them. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.filter((one) => typeof one === 'string').join('\n');
  return typeof value === 'string' ? value : '';
}

function failed(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('upstream_failed', message, { cause });
}
