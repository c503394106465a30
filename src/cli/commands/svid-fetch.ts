import { X509Certificate } from 'node:crypto';
import type { JwtSvidResponse, X509SvidResponse } from '../../proto/index.ts';
import { wrongUsage, type ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { FetchFlags } from '../groups/svid.ts';
import { toPem, writeSvidFiles } from '../svid-files.ts';
import { formatFields } from '../table.ts';
import { untilInterrupted } from '../until-interrupted.ts';
import { withWorkloadApi } from '../workload-client.ts';
import { formatSpanTo } from '../when.ts';

/** `svid fetch`: private keys go to files only. */
export async function fetchSvids(kind: 'x509' | 'jwt', options: ClientOptions & FetchFlags): Promise<ExitCode> {
  return kind === 'jwt' ? await fetchJwt(options) : await fetchX509(options);
}

async function fetchX509(options: ClientOptions & FetchFlags): Promise<ExitCode> {
  if (options.audience !== undefined || options.spiffeId !== undefined) {
    throw wrongUsage('--audience and --spiffe-id are for `svid fetch jwt`');
  }
  await withWorkloadApi(options, async (workload) => {
    for await (const response of workload.x509Svids()) {
      await show(response, options);
      return;
    }
  });
  return EXIT.done;
}

/** `svid watch`: JSON comes one object a line. */
export async function watchSvids(options: ClientOptions & Pick<FetchFlags, 'write'>): Promise<ExitCode> {
  await untilInterrupted((signal) =>
    withWorkloadApi({ ...options, signal }, async (workload) => {
      for await (const response of workload.x509Svids()) {
        if (options.output === 'text') options.terminal.out(`--- ${new Date().toISOString()}\n`);
        await show(response, options);
      }
    }),
  );
  return EXIT.done;
}

async function fetchJwt(options: ClientOptions & FetchFlags): Promise<ExitCode> {
  const { audience, spiffeId = '', write, output, terminal } = options;
  if (audience === undefined) throw wrongUsage('whom is the token for? Name --audience');
  if (write !== undefined) throw wrongUsage('--write is for X.509-SVIDs');
  const { svids } = await withWorkloadApi(options, (workload) => workload.jwtSvids({ audience, spiffeId }));
  if (output === 'json') terminal.out(`${JSON.stringify({ svids: svids.map(jwtJson) })}\n`);
  else terminal.out(svids.map(({ spiffeId: id, svid }) => `token(${id}):\n${svid}\n`).join('\n'));
  return EXIT.done;
}

async function show(response: X509SvidResponse, options: ClientOptions & Pick<FetchFlags, 'write'>): Promise<void> {
  const { output, terminal, write } = options;
  const files = write === undefined ? [] : await writeSvidFiles(write, response);
  const svids = response.svids.map(readSvid);
  if (output === 'json') {
    const federated = Object.fromEntries(
      Object.entries(response.federatedBundles).map(([id, der]) => [id, toPem(der)]),
    );
    const written = files.length === 0 ? {} : { files };
    terminal.out(`${JSON.stringify({ svids: svids.map(svidJson), federated_bundles: federated, ...written })}\n`);
    return;
  }
  const now = Date.now();
  const texts = svids.map(({ spiffeId, hint, serial, notAfter }) =>
    formatFields({ 'SPIFFE ID': spiffeId, Hint: hint, Serial: serial, Ends: formatSpanTo(notAfter, now) }),
  );
  terminal.out([...texts, ...(files.length === 0 ? [] : [files.map((file) => `wrote ${file}\n`).join('')])].join('\n'));
}

interface ShownSvid {
  readonly spiffeId: string;
  readonly hint: string;
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  readonly chain: string;
  readonly bundle: string;
}

function readSvid(svid: X509SvidResponse['svids'][number]): ShownSvid {
  const chain = toPem(svid.x509Svid);
  const leaf = new X509Certificate(chain);
  return {
    spiffeId: svid.spiffeId,
    hint: svid.hint,
    serial: leaf.serialNumber.toLowerCase().replace(/^0+/, ''),
    notAfter: leaf.validToDate.getTime(),
    chain,
    bundle: toPem(svid.bundle),
  };
}

function svidJson({ spiffeId, hint, serial, notAfter, chain, bundle }: ShownSvid): object {
  return {
    spiffe_id: spiffeId,
    ...(hint === '' ? {} : { hint }),
    serial,
    expires_at: new Date(notAfter).toISOString(),
    x509_svid: chain,
    bundle,
  };
}

function jwtJson({ spiffeId, svid, hint }: JwtSvidResponse['svids'][number]): object {
  return { spiffe_id: spiffeId, ...(hint === '' ? {} : { hint }), token: svid, ...expiryOf(svid) };
}

/** Only for showing: nothing is believed of a token that was not verified. */
function expiryOf(token: string): { readonly expires_at?: string } {
  try {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as {
      exp?: unknown;
    };
    return typeof claims.exp === 'number' ? { expires_at: new Date(claims.exp * 1000).toISOString() } : {};
  } catch {
    return {};
  }
}
