/** The real stores under a real authority, and kill -9 at moments that nobody chose. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseCertificate } from '../../src/pki/index.ts';
import { parseSpiffeId, verifyX509Svid } from '../../src/spiffe/index.ts';
import { SHORT_LIVES, type AuthorityLine } from '../support/authority-program.ts';
import { openAuthority } from '../support/svid-fixtures.ts';
import { tempFolder } from '../support/temp-folder.ts';

const ORDERS = parseSpiffeId('spiffe://example.test/orders');
const PROGRAM = fileURLToPath(new URL('../support/authority-program.ts', import.meta.url));
const KILLS = 8;

/** Runs the program until it has said this many lines and a moment more, and gives what it said. */
async function runAndKill(folder: string, lines: number): Promise<readonly AuthorityLine[]> {
  const child = spawn(process.execPath, [PROGRAM, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: AuthorityLine[] = [];
  try {
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => {
      said.push(JSON.parse(line) as AuthorityLine);
      if (said.length === lines) setTimeout(() => child.kill('SIGKILL'), Math.random() * 40);
    });
    await Promise.all([once(child, 'exit'), once(reader, 'close')]);
  } finally {
    child.kill('SIGKILL');
  }
  assert.equal(child.signalCode, 'SIGKILL', 'it ends only because we ended it');
  return said;
}

test(`after each of ${KILLS} kills the authority goes on where it was`, async () => {
  await using folder = await tempFolder();
  const said: AuthorityLine[] = [];
  for (let kill = 0; kill < KILLS; kill += 1) {
    said.push(...(await runAndKill(folder.path, 1 + Math.floor(Math.random() * 30))));
    await using open = await openAuthority(folder.path, SHORT_LIVES);
    const { value } = open.authority.bundle;
    const roots = value.x509Authorities.map(parseCertificate);
    const verify = (certificate: Uint8Array): boolean =>
      verifyX509Svid(parseCertificate(certificate), { authorities: () => roots, now: Date.now() }).valid;
    const sequences = said.flatMap((line) => (line.kind === 'bundle' ? [line.sequence] : []));
    assert.deepEqual(
      sequences,
      [...sequences].sort((a, b) => a - b),
      'bundles come in order',
    );
    assert.ok(value.sequence >= Math.max(...sequences), 'the sequence never goes back');
    const revoked = new Set(said.flatMap((line) => (line.kind === 'revoking' ? [line.id] : [])));
    for (const line of said) {
      if (line.kind !== 'svid' || revoked.has(line.authorityId) || line.notAfter < Date.now() + 500) continue;
      assert.ok(verify(Buffer.from(line.certificate, 'base64')), 'a living SVID verifies');
    }
    const svid = await open.authority.issueX509Svid({ spiffeId: ORDERS });
    assert.ok(verify(svid.certificateChain[0]!));
    said.push({ kind: 'bundle', sequence: value.sequence, roots: [] });
  }
  assert.ok(said.filter(({ kind }) => kind === 'svid').length > KILLS);
});
