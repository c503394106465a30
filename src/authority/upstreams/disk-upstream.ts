import {
  describeError,
  fileChanges,
  merge,
  SvidgateError,
  Watchable,
  type Clock,
  type Logger,
  type Metrics,
} from '../../core/index.ts';
import { outsideCa, pemCertificates, signIntermediate, type Certificate, type OutsideCa } from '../../pki/index.ts';
import { readSecret } from '../key-managers/secret-source.ts';
import { readTextFile } from '../read-text-file.ts';
import { BACKDATE_MS } from '../rotation-plan.ts';
import type { MintedCa, UpstreamAuthority } from '../upstream-authority.ts';
import { pathToRoot, readCertificate, sameCertificates, toMintedCa, type CaPath } from './ca-path.ts';

export interface DiskUpstreamOptions {
  /** PEM: the CA that signs ours, then those above it. */
  readonly certificateFile: string;
  /** PEM of its private key, closed to other users: EC on P-256, P-384 or P-521, or RSA of 2048 to 4096 bits. */
  readonly keyFile: string;
  /** PEM: all roots that verifiers must hold. Needed unless the root stands in `certificateFile`. */
  readonly bundleFile?: string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What the files held when they last fitted together. */
interface Loaded {
  readonly texts: readonly string[];
  readonly ca: OutsideCa;
  readonly others: readonly Certificate[];
  readonly roots: readonly Uint8Array[];
}

const MAX_PEM_BYTES = 1024 * 1024;

/**
 * A CA whose key is in a file: a root, or an intermediate under a root that is kept elsewhere. Its files are taken as a whole,
 * again whenever one changes; while they do not fit together the last that did stay in force, with a warning. Without
 * usable files at the start it has no roots and mints nothing until they are there.
 */
export async function createDiskUpstream(options: DiskUpstreamOptions): Promise<UpstreamAuthority> {
  const upstream = new DiskUpstream(options);
  await upstream.reload().catch(() => undefined);
  return upstream;
}

class DiskUpstream implements UpstreamAuthority {
  readonly kind = 'disk';
  readonly roots = new Watchable<readonly Uint8Array[]>([]);
  readonly #options: DiskUpstreamOptions;
  #loaded: Loaded | undefined;
  #told = '';

  constructor(options: DiskUpstreamOptions) {
    this.#options = options;
  }

  async mintCa({ csr, ttlMs, signal }: Parameters<UpstreamAuthority['mintCa']>[0]): Promise<MintedCa> {
    if (signal.aborted) throw new SvidgateError('canceled', 'the request for a CA was canceled');
    const { ca, path } = await this.#current();
    const now = this.#options.clock.now();
    const where = this.#options.certificateFile;
    const notBefore = Math.max(now - BACKDATE_MS, ca.certificate.notBefore);
    try {
      const notAfter = Math.min(now + ttlMs, path.notAfter);
      const { certificate } = await signIntermediate({ csr, ca, notBefore, notAfter });
      const minted = await toMintedCa({ csr, certificate, path }, { where, now });
      return { ...minted, roots: this.roots.value };
    } catch (cause) {
      if (cause instanceof SvidgateError && cause.code === 'upstream_failed') throw cause;
      throw new SvidgateError('upstream_failed', `${where}: no CA could be signed`, { cause });
    }
  }

  async run(signal: AbortSignal): Promise<void> {
    const { certificateFile, keyFile, bundleFile, clock } = this.#options;
    const files = [certificateFile, keyFile, ...(bundleFile === undefined ? [] : [bundleFile])];
    const stop = new AbortController();
    const until = AbortSignal.any([signal, stop.signal]);
    try {
      for await (const _ of merge(files.map((file) => fileChanges(file, { clock, signal: until })))) {
        await this.reload().catch(() => undefined);
      }
    } finally {
      stop.abort();
    }
  }

  /** Takes the files as they are now. Throws `upstream_failed`; the last good ones stay. */
  async reload(): Promise<void> {
    const { logger, metrics, certificateFile } = this.#options;
    try {
      const loaded = await this.#load();
      this.#told = '';
      if (loaded === this.#loaded) return;
      this.#loaded = loaded;
      if (!sameCertificates(loaded.roots, this.roots.value)) this.roots.set(loaded.roots);
      logger.info({ file: certificateFile, ca_id: loaded.ca.certificate.subjectKeyId }, 'upstream authority loaded');
    } catch (error) {
      const reason = describeError(error);
      if (reason !== this.#told) {
        metrics.count('svidgate_reload_failures_total', { source: 'upstream' });
        logger.warn({ file: certificateFile, error_code: 'upstream_failed', reason }, 'upstream authority refused');
      }
      this.#told = reason;
      throw error;
    }
  }

  /** The newest usable files, with their path as it is valid now. */
  async #current(): Promise<{ readonly ca: OutsideCa; readonly path: CaPath }> {
    try {
      await this.reload();
    } catch (error) {
      if (this.#loaded === undefined) throw error;
    }
    if (this.#loaded === undefined) throw new SvidgateError('upstream_failed', 'no upstream CA is loaded');
    const { ca, others } = this.#loaded;
    return { ca, path: this.#pathOf(ca.certificate, others) };
  }

  async #load(): Promise<Loaded> {
    const { certificateFile, keyFile, bundleFile } = this.#options;
    const texts = await this.#readAll();
    if (this.#loaded !== undefined && texts.every((text, index) => text === this.#loaded?.texts[index])) {
      this.#pathOf(this.#loaded.ca.certificate, this.#loaded.others);
      return this.#loaded;
    }
    const [certificateText = '', keyText = '', bundleText] = texts;
    const [own, ...above] = certificatesIn(certificateText, certificateFile);
    const bundle = bundleText === undefined ? [] : certificatesIn(bundleText, bundleFile ?? '');
    const noRoot = bundle.find((certificate) => !certificate.isCa || !certificate.isSignedBy(certificate));
    if (noRoot !== undefined)
      throw failed(`${bundleFile}: CA ${noRoot.subjectKeyId} is no root: it did not sign itself`);
    if (own === undefined) throw failed(`${certificateFile}: no certificate`);
    const others = [...bundle, ...above];
    const { root } = this.#pathOf(own, others);
    const roots = bundleText === undefined ? [root.der] : bundle.map(({ der }) => der);
    if (!roots.some((der) => Buffer.from(der).equals(root.der))) {
      throw failed(`${bundleFile}: the root of ${certificateFile} is not in it`);
    }
    return { texts, ca: caOf(own, keyText, keyFile), others, roots };
  }

  async #readAll(): Promise<readonly string[]> {
    const { certificateFile, keyFile, bundleFile } = this.#options;
    try {
      const certificate = await readTextFile(certificateFile, MAX_PEM_BYTES);
      const key = await readSecret({ file: keyFile });
      return bundleFile === undefined
        ? [certificate, key]
        : [certificate, key, await readTextFile(bundleFile, MAX_PEM_BYTES)];
    } catch (error) {
      const { message, cause } = SvidgateError.from(error);
      throw failed(message, cause);
    }
  }

  #pathOf(certificate: Certificate, others: readonly Certificate[]): CaPath {
    return pathToRoot(certificate, others, { where: this.#options.certificateFile, now: this.#options.clock.now() });
  }
}

function certificatesIn(pem: string, file: string): readonly Certificate[] {
  const found = pemCertificates(pem).map((der) => readCertificate(der, file));
  if (found.length === 0) throw failed(`${file} holds no certificate in PEM`);
  return found;
}

function caOf(certificate: Certificate, keyText: string, keyFile: string): OutsideCa {
  try {
    return outsideCa(certificate.der, keyText);
  } catch (error) {
    throw failed(`${keyFile}: ${SvidgateError.from(error).message}`);
  }
}

function failed(message: string, cause?: unknown): SvidgateError {
  return new SvidgateError('upstream_failed', message, { cause });
}
