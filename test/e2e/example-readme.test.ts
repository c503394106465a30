import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { codeBlocks, readPage } from '../docs/markdown.ts';
import { missingPrograms } from '../docs/shell.ts';
import { envoyVersions } from '../support/envoy-versions.ts';
import { lastLines } from '../support/envoy.ts';
import { startExample } from '../support/run-example.ts';
import { waitUntil } from '../support/wait-until.ts';

const PAGE = 'envoy-examples/sidecar-mesh/README.md';

for (const envoy of envoyVersions()) {
  describe(`the sidecar mesh on ${envoy.name}`, { skip: envoy.skip || missingPrograms('curl') }, () => {
    test('comes up by hand as its page says, and answers as its page says', async () => {
      await using example = await startExample('sidecar-mesh', envoy);
      const [, ask] = codeBlocks(PAGE, readPage(PAGE)).filter(({ language }) => language === 'sh');
      const lines = ask?.text.split('\n').filter((line) => line.startsWith('curl ')) ?? [];
      assert.ok(lines.length >= 4);
      try {
        await waitUntil('svidgate to be ready', 60_000, async () => {
          return (await fetch(`http://${example.address}:${example.port(9988)}/ready`)).ok;
        });
        for (const line of lines) {
          const [command = '', comment = ''] = line.split(/ +# /);
          const asked = command.replace('curl ', "curl -s -o /dev/null -w '%{http_code}' ");
          assert.equal(await example.shell(asked), /^\d{3}/.exec(comment)?.[0] ?? '200', line);
        }
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${lastLines(example.log(), 30)}`, { cause: error });
      }
    });
  });
}
