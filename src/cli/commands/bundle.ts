import { int64ToBigInt, type svidgate } from '../../proto/index.ts';
import { withAdmin } from '../admin-client.ts';
import type { ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import { readInput } from '../input-text.ts';
import { formatTable } from '../table.ts';
import { visibleLines } from '../visible-text.ts';

type Bundle = svidgate.admin.v1.Bundle;

const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** In the order of the proto's enums, from 0. */
const SOURCES = ['unknown', 'own', 'file', 'api', 'endpoint'] as const;
const FORMATS = { pem: 1, spiffe: 2 } as const;

/** `bundle show`: the document alone, so that it can be redirected to a file. */
export async function showBundle(
  trustDomain: string,
  options: ClientOptions & { readonly format: keyof typeof FORMATS },
): Promise<ExitCode> {
  const request = { trustDomain, format: FORMATS[options.format] };
  const { bundle, document } = await withAdmin(options, (admin) => admin.call('getBundle', request));
  const about = bundle === null ? {} : bundleJson(bundle);
  const { output, terminal } = options;
  terminal.out(output === 'json' ? `${JSON.stringify({ ...about, document })}\n` : visibleLines(document));
  return EXIT.done;
}

/** `bundle list` */
export async function listBundles(options: ClientOptions): Promise<ExitCode> {
  const bundles = await withAdmin(options, async (admin) => {
    const all: Bundle[] = [];
    let pageToken = '';
    do {
      const page = await admin.call('listBundles', { pageToken });
      all.push(...page.bundles);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return all;
  });
  const { output, terminal } = options;
  if (output === 'json') {
    terminal.out(`${JSON.stringify({ bundles: bundles.map(bundleJson) })}\n`);
    return EXIT.done;
  }
  const rows = bundles.map((bundle) => [
    bundle.trustDomain,
    SOURCES[bundle.source] ?? 'unknown',
    String(bundle.x509AuthorityCount),
    String(bundle.jwtAuthorityCount),
    int64ToBigInt(bundle.sequence).toString(),
  ]);
  terminal.out(formatTable(['TRUST DOMAIN', 'SOURCE', 'X.509 AUTHORITIES', 'JWT AUTHORITIES', 'SEQUENCE'], rows));
  return EXIT.done;
}

/** `bundle set` */
export async function setBundle(trustDomain: string, file: string, options: ClientOptions): Promise<ExitCode> {
  const document = await readInput(file, MAX_FILE_BYTES);
  const bundle = await withAdmin(options, (admin) => admin.call('setBundle', { trustDomain, document }));
  const { output, terminal } = options;
  const { x509AuthorityCount: x509, jwtAuthorityCount: jwt } = bundle;
  if (output === 'json') terminal.out(`${JSON.stringify(bundleJson(bundle))}\n`);
  else terminal.out(`set the bundle of ${trustDomain}: ${x509} X.509 and ${jwt} JWT authorities\n`);
  return EXIT.done;
}

/** `bundle delete` */
export async function deleteBundle(trustDomain: string, options: ClientOptions): Promise<ExitCode> {
  await withAdmin(options, (admin) => admin.call('deleteBundle', { trustDomain }));
  const { output, terminal } = options;
  terminal.out(
    output === 'json' ? `${JSON.stringify({ deleted: trustDomain })}\n` : `deleted the bundle of ${trustDomain}\n`,
  );
  return EXIT.done;
}

function bundleJson(bundle: Bundle): Readonly<Record<string, unknown>> {
  const refreshHint = Number(int64ToBigInt(bundle.refreshHintSeconds));
  return {
    trust_domain: bundle.trustDomain,
    source: SOURCES[bundle.source] ?? 'unknown',
    sequence: Number(int64ToBigInt(bundle.sequence)),
    ...(refreshHint === 0 ? {} : { refresh_hint_seconds: refreshHint }),
    x509_authority_count: bundle.x509AuthorityCount,
    jwt_authority_count: bundle.jwtAuthorityCount,
  };
}
