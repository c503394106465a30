import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { buildGoProgram } from './go-program.ts';

export interface GoQuestion {
  /**
   * A body by its content type; a path with its query; a protobuf message of the type, by the descriptors of the set;
   * the descriptors of the well-known types.
   */
  readonly kind: 'body' | 'target' | 'message' | 'known';
  readonly type?: string;
  readonly length?: string;
  readonly body: Buffer;
  readonly set?: Buffer;
}

export interface GoBodies extends AsyncDisposable {
  /** One line of JSON for each. */
  ask(questions: readonly GoQuestion[]): Promise<readonly string[]>;
}

/** Go's own packages, which read bodies, paths and messages: test/conformance/go-bodies. */
export async function startGoBodies(): Promise<GoBodies> {
  const program = await buildGoProgram(fileURLToPath(new URL('../conformance/go-bodies', import.meta.url)));
  const go = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: go.stdout })[Symbol.asyncIterator]();
  return {
    async ask(questions) {
      const texts = questions.map((question) =>
        JSON.stringify({
          ...question,
          body: question.body.toString('base64'),
          ...(question.set === undefined ? {} : { set: question.set.toString('base64') }),
        }),
      );
      go.stdin.write(`${texts.join('\n')}\n`);
      const answers: string[] = [];
      while (answers.length < questions.length) {
        const { value, done } = await lines.next();
        if (done === true) throw new Error('the Go program ended');
        answers.push(value);
      }
      return answers;
    },
    async [Symbol.asyncDispose]() {
      const exited = once(go, 'exit');
      go.stdin.end();
      await exited;
    },
  };
}

/** JSON with the text of each number in its place: doubles would hide a digit that was lost. */
export function parseExactly(text: string): unknown {
  const withSource = JSON.parse as (
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ) => unknown;
  return withSource(text, (_key, value, { source }) => (typeof value === 'number' ? { number: source } : value));
}
