import { choiceField, integerField, optionalField, sectionField, type ReportMistake } from './fields.ts';

/** What a policy has to pass, beyond the compiler, before it comes into force. */
export interface PolicyActivationConfig {
  /** Absent: those of its tests that are there must pass. */
  readonly tests?: 'required' | 'off';
  /** Absent: recorded decisions are not tried. */
  readonly replay?: ReplayConfig;
}

export interface ReplayConfig {
  readonly maxChanged: number;
  readonly records: number;
}

/** They are held in memory while they are tried. */
const MAX_RECORDS = 100_000;

/** The keys of a policy that are about how it comes into force. */
export function activationFields() {
  return {
    tests: choiceField(['when_present', 'required', 'off'], {
      description:
        'Its own `_test.rego` files: those that are there must pass; there must be some, and they must pass; they are not run.',
      default: 'when_present',
    }),
    replay: optionalField(
      sectionField(
        {
          max_changed: integerField({
            description: 'How many of them may come out otherwise.',
            min: 0,
            max: MAX_RECORDS,
            default: 0,
          }),
          records: integerField({
            description: 'How many of the newest ones are made again.',
            min: 1,
            max: MAX_RECORDS,
            default: 10_000,
          }),
        },
        {
          description:
            'Recorded decisions that are made again before it comes into force; it does not when more than `max_changed` ' +
            'change. Those for anonymous callers do not count.',
        },
      ),
    ),
  };
}

interface RawActivation {
  readonly tests: 'when_present' | 'required' | 'off';
  readonly replay?: { readonly max_changed: number; readonly records: number } | undefined;
}

export function toActivation({ tests, replay }: RawActivation): PolicyActivationConfig {
  return {
    ...(tests === 'when_present' ? {} : { tests }),
    ...(replay === undefined ? {} : { replay: { maxChanged: replay.max_changed, records: replay.records } }),
  };
}

/** What is tried must be recorded. */
export function checkReplays(
  config: {
    readonly authz?: { readonly policies?: Readonly<Record<string, Partial<RawActivation>>> | undefined } | undefined;
    readonly decision_log?: object | undefined;
  },
  report: ReportMistake,
): void {
  if (config.decision_log !== undefined) return;
  for (const [name, { replay }] of Object.entries(config.authz?.policies ?? {})) {
    if (replay === undefined) continue;
    const message = `policy \`${name}\` has \`replay\`, and no decisions are recorded`;
    report(['authz', 'policies', name, 'replay'], message, 'add `decision_log`, or leave it out');
  }
}
