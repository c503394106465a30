import { importIstio, rulesToYaml, type IstioOptions } from '../../authoring/index.ts';
import { wrongUsage } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { IstioFlags } from '../groups/policy-authoring.ts';
import { readInput } from '../input-text.ts';
import { formatMistakes } from '../print-mistakes.ts';
import type { Terminal } from '../terminal.ts';
import { visibleText } from '../visible-text.ts';

const MAX_BYTES = 16 * 1024 * 1024;

/** Prints the rules file; what is otherwise than in the mesh goes where errors go. */
export async function importIstioFile(flags: IstioFlags, terminal: Terminal): Promise<ExitCode> {
  const { file, output } = flags;
  const imported = importIstio(await readInput(file, MAX_BYTES), file, toOptions(flags));
  if (imported.mistakes !== undefined) {
    terminal.err(formatMistakes(file, imported.mistakes, output));
    return EXIT.wrongUsage;
  }
  const { rules, remarks } = imported;
  if (output === 'json') terminal.out(`${JSON.stringify({ ...rules, remarks })}\n`);
  else {
    terminal.out(rulesToYaml(rules));
    terminal.err(remarks.map((remark) => `- ${visibleText(remark)}\n`).join(''));
  }
  return EXIT.done;
}

function toOptions({ workload, rootNamespace, trustDomain, provider }: IstioFlags): IstioOptions {
  return {
    trustDomains: trustDomain,
    providers: new Map(provider.map((text) => pair(text, '--provider', 'NAME=ISSUER'))),
    rootNamespace,
    ...(workload === undefined ? {} : { workload: toWorkload(workload) }),
  };
}

function toWorkload(text: string): NonNullable<IstioOptions['workload']> {
  const [namespace = '', labels = ''] = text.split('/');
  const pairs = labels === '' ? [] : labels.split(',');
  return { namespace, labels: new Map(pairs.map((label) => pair(label, '--workload', 'NAMESPACE/KEY=VALUE,…'))) };
}

function pair(text: string, option: string, form: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw wrongUsage(`${option} ${text}: expected ${form}`);
  return [text.slice(0, at), text.slice(at + 1)];
}
