import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseSpiffeId } from '../../src/spiffe/index.ts';
import { openAuthority, TRUST_DOMAIN } from '../../test/support/svid-fixtures.ts';
import type { BenchmarkContext, Figure } from '../benchmark.ts';
import { benchFolder } from '../parts/bench-folder.ts';
import { measureRound, medianLatencyMs, medianPerSecond, type Round } from '../parts/measure.ts';
import { interleaved, medianRatio } from '../statistics.ts';

const SIZES = {
  full: { rounds: 5, roundMs: 800 },
  quick: { rounds: 1, roundMs: 50 },
};

/** How many SVIDs are asked for at once in the concurrent rounds. */
const CONCURRENCY = 16;

/** About what is signed for a leaf: the certificate without its signature. */
const TBS_BYTES = 450;

/** Of the signed part of a JWT-SVID. */
const JWS_BYTES = 250;

/** X.509- and JWT-SVIDs a second by an authority in this process, beside what no implementation can leave out. */
export async function measureSigning({ size, progress }: BenchmarkContext): Promise<readonly Figure[]> {
  const { rounds, roundMs } = SIZES[size];
  await using folder = await benchFolder();
  await using opened = await openAuthority(join(folder.path, 'data'));
  const { authority } = opened;
  const spiffeId = parseSpiffeId(`spiffe://${TRUST_DOMAIN}/orders`);
  const issue = async (): Promise<void> => void (await authority.issueX509Svid({ spiffeId }));
  const issueJwt = async (): Promise<void> => void (await authority.issueJwtSvid({ spiffeId, audience: ['payments'] }));
  const floor = keyAndSignature();
  const jwtFloor = signatureAlone();
  const openssl = await opensslCertificate(folder.path);
  const round = (concurrency: number, once: () => Promise<void>): (() => Promise<Round>) => {
    return () => measureRound({ concurrency, durationMs: roundMs }, once);
  };
  progress('warming up');
  for (const once of [issue, issueJwt, floor]) await round(1, once)();
  progress(`${rounds} rounds of ${roundMs} ms for each kind of signature, in turn`);
  const results = await interleaved(rounds, {
    alone: round(1, issue),
    together: round(CONCURRENCY, issue),
    floor: round(1, floor),
    jwt: round(1, issueJwt),
    jwtFloor: round(1, jwtFloor),
    ...(openssl === undefined ? {} : { openssl: round(1, openssl) }),
  });
  return [...x509Figures(results), ...jwtFigures(results)];
}

const rates = (rounds: readonly Round[]): readonly number[] => rounds.map(({ perSecond }) => perSecond);

function x509Figures(results: {
  readonly alone: readonly Round[];
  readonly together: readonly Round[];
  readonly floor: readonly Round[];
  readonly openssl?: readonly Round[];
}): readonly Figure[] {
  const { alone, together, floor, openssl } = results;
  return [
    { name: 'issued_per_second', value: medianPerSecond(alone), meaning: 'X.509-SVIDs, one after the other' },
    {
      name: `issued_per_second_at_${CONCURRENCY}`,
      value: medianPerSecond(together),
      meaning: `X.509-SVIDs, ${CONCURRENCY} at a time`,
    },
    { name: 'issue_p50_ms', value: medianLatencyMs(alone, 0.5), meaning: 'time for one, median' },
    { name: 'issue_p99_ms', value: medianLatencyMs(alone, 0.99), meaning: 'time for one, 99th percentile' },
    {
      name: 'key_and_signature_per_second',
      value: medianPerSecond(floor),
      meaning: 'the floor: key and signature alone',
    },
    {
      name: 'issued_vs_floor',
      value: medianRatio(rates(alone), rates(floor)),
      meaning: 'SVIDs for each bare key and signature in the same time',
    },
    ...(openssl === undefined
      ? []
      : [
          {
            name: 'openssl_per_second',
            value: medianPerSecond(openssl),
            meaning: 'certificates of the openssl command',
          },
          {
            name: 'issued_vs_openssl',
            value: medianRatio(rates(alone), rates(openssl)),
            meaning: 'SVIDs for each certificate of the openssl command in the same time',
          },
        ]),
  ];
}

function jwtFigures({
  jwt,
  jwtFloor,
}: {
  readonly jwt: readonly Round[];
  readonly jwtFloor: readonly Round[];
}): readonly Figure[] {
  return [
    { name: 'jwt_issued_per_second', value: medianPerSecond(jwt), meaning: 'JWT-SVIDs, ES256, one after the other' },
    { name: 'jwt_issue_p99_ms', value: medianLatencyMs(jwt, 0.99), meaning: 'time for one, 99th percentile' },
    {
      name: 'jwt_issued_vs_floor',
      value: medianRatio(rates(jwt), rates(jwtFloor)),
      meaning: `JWT-SVIDs for each bare signature of ${JWS_BYTES} bytes in the same time`,
    },
  ];
}

function keyAndSignature(): () => Promise<void> {
  const ca = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const content = randomBytes(TBS_BYTES);
  return async () => {
    generateKeyPairSync('ec', { namedCurve: 'P-256' });
    sign('sha256', content, ca.privateKey);
  };
}

function signatureAlone(): () => Promise<void> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const content = randomBytes(JWS_BYTES);
  return async () => void sign('sha256', content, privateKey);
}

/** One key and certificate by the openssl command; undefined where there is none of version 3. */
async function opensslCertificate(folder: string): Promise<(() => Promise<void>) | undefined> {
  const openssl = async (args: readonly string[]): Promise<void> => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    await promisify(execFile)('openssl', ['req', '-x509', ...key, '-subj', '/O=bench', '-days', '1', ...args], {
      cwd: folder,
      timeout: 10_000,
    });
  };
  const san = `subjectAltName=URI:spiffe://${TRUST_DOMAIN}/orders`;
  const leaf = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-addext', san, '-keyout', 'leaf.key', '-out', 'leaf.pem'];
  try {
    await openssl(['-keyout', 'ca.key', '-out', 'ca.pem']);
    await openssl(leaf);
  } catch {
    return undefined;
  }
  return () => openssl(leaf);
}
