/**
 * Makes the reference pages that come from the catalogues of src/core/ and from the commands.
 * `node tools/docs/generate.ts` writes; with `--check` it compares instead and exits 1 on a difference.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { writeFileAtomic } from '../../src/core/index.ts';
import { commandsPage } from './commands-page.ts';
import { auditLogPage, errorsPage, logFieldsPage, metricsPage } from './pages.ts';

const OUTPUT_FOLDER = fileURLToPath(new URL('../../docs/reference/', import.meta.url));

async function main(isCheck: boolean): Promise<void> {
  const pages = {
    'audit-log.md': auditLogPage(),
    'commands.md': await commandsPage(),
    'errors.md': errorsPage(),
    'log-fields.md': logFieldsPage(),
    'metrics.md': await metricsPage(),
  };
  if (!isCheck) await mkdir(OUTPUT_FOLDER, { recursive: true });
  for (const [name, text] of Object.entries(pages)) {
    const path = join(OUTPUT_FOLDER, name);
    const formatted = await format(text, { ...(await resolveConfig(path)), parser: 'markdown' });
    if (!isCheck) await writeFileAtomic(path, formatted, 0o644);
    else if ((await readFile(path, 'utf8').catch(() => undefined)) !== formatted) {
      console.error(`docs/reference/${name} is not what the sources give: run \`node tools/docs/generate.ts\``);
      process.exitCode = 1;
    }
  }
}

await main(process.argv.includes('--check'));
