import type { svidgate } from '../../proto/index.ts';
import { withAdmin } from '../admin-client.ts';
import { wrongUsage, type ClientOptions } from '../command-line.ts';
import { EXIT, type ExitCode } from '../exit-code.ts';
import type { RollbackFlags } from '../groups/policy-history.ts';
import { formatPolicyHistory, formatPolicyInForce, policyEventJson, policyStatusJson } from '../policy-history-view.ts';

/** `policy history` */
export async function showPolicyHistory(options: ClientOptions & { readonly policy?: string }): Promise<ExitCode> {
  const { policy = '', output, terminal } = options;
  const events = await withAdmin(options, async (admin) => {
    const all: svidgate.admin.v1.PolicyEvent[] = [];
    let pageToken = '';
    do {
      const page = await admin.call('getPolicyHistory', { policy, pageToken, pageSize: 1000 });
      all.push(...page.events);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return all;
  });
  const text =
    output === 'json'
      ? `${JSON.stringify({ events: events.map(policyEventJson) })}\n`
      : formatPolicyHistory(events, Date.now());
  terminal.out(text);
  return EXIT.done;
}

type RollbackOptions = ClientOptions & RollbackFlags & { readonly policy: string; readonly digest?: string };

/** `policy rollback` */
export async function rollBackPolicy(options: RollbackOptions): Promise<ExitCode> {
  const { policy, digest = '', undo = false, force = false, reason = '', output, terminal } = options;
  if (undo && (digest !== '' || force)) throw wrongUsage('--undo takes what the source offers: leave the rest out');
  const status = await withAdmin(options, (admin) =>
    undo
      ? admin.call('releasePolicy', { policy, reason })
      : admin.call('rollBackPolicy', { policy, digest, force, reason }),
  );
  terminal.out(output === 'json' ? `${JSON.stringify(policyStatusJson(status))}\n` : formatPolicyInForce(status));
  // After an --undo, what the source offers may have been refused.
  return undo && status.problem !== '' ? EXIT.failed : EXIT.done;
}
