import type { PolicyConfig } from './authz-config.ts';
import { choiceField, durationField, flagField, type ReportMistake } from './fields.ts';

/** What Envoy decides by itself for a policy. */
export interface OffloadConfig {
  /** Whether it also refuses what nobody is allowed. */
  readonly fastDeny: boolean;
}

/** The keys of a policy that are about what Envoy decides without a call. */
export function offloadFields() {
  return {
    offload: choiceField(['off', 'on'], {
      description:
        'Whether Envoy lets requests through without a call where identity, method and path are all it takes.',
      default: 'off',
    }),
    fast_deny: flagField({
      description: 'Whether Envoy also refuses, without a call, what the policy allows nobody. It needs `offload: on`.',
      default: false,
    }),
  };
}

/** The key of `authz` that bounds it. */
export function offloadLeaseField() {
  return durationField({
    description: 'How long an Envoy that svidgate cannot reach goes on deciding without calls.',
    min: '1s',
    max: '5m',
    default: '10s',
  });
}

interface RawOffload {
  readonly offload: 'off' | 'on';
  readonly fast_deny: boolean;
}

export function toOffload({ offload, fast_deny: fastDeny }: RawOffload): Pick<PolicyConfig, 'offload'> {
  return offload === 'on' ? { offload: { fastDeny } } : {};
}

interface RawPolicy extends Partial<RawOffload> {
  readonly shadow_of?: string | undefined;
  readonly unenforced?: object | undefined;
}

/** What Envoy decides by itself is a decision, of a policy that decides. */
export function checkOffload(
  { policies }: { readonly policies?: Readonly<Record<string, RawPolicy>> | undefined },
  report: ReportMistake,
): void {
  for (const [name, policy] of Object.entries(policies ?? {})) {
    const place = (key: string): readonly string[] => ['policies', name, key];
    if (policy.offload !== 'on') {
      if (policy.fast_deny !== true) continue;
      report(
        place('fast_deny'),
        `policy \`${name}\` has \`fast_deny\` without \`offload: on\``,
        'add that, or leave it out',
      );
    } else if (policy.shadow_of !== undefined) {
      const message = `policy \`${name}\` has \`shadow_of\` and \`offload\``;
      report(place('offload'), message, 'a shadow never decides: leave one out');
    } else if (policy.unenforced !== undefined) {
      const message = `policy \`${name}\` has \`unenforced\` and \`offload\``;
      report(place('offload'), message, 'what it says is to be counted: leave one out');
    }
  }
}
