import { choiceField, integerField, optionalField, sectionField } from './fields.ts';

/** What a policy has to pass, beyond the compiler, before it comes into force. */
export interface PolicyActivationConfig {
  readonly tests: TestsChoice;
  /** Absent: recorded decisions are not tried. */
  readonly replay?: ReplayConfig;
}

export interface ReplayConfig {
  readonly maxChanged: number;
  readonly records: number;
}

/** `when_present`: those of its tests that are there must pass. */
export type TestsChoice = 'when_present' | 'required' | 'off';

const MAX_RECORDS = 1_000_000;

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
  readonly tests: TestsChoice;
  readonly replay?: { readonly max_changed: number; readonly records: number } | undefined;
}

export function toActivation({ tests, replay }: RawActivation): PolicyActivationConfig {
  return {
    tests,
    ...(replay === undefined ? {} : { replay: { maxChanged: replay.max_changed, records: replay.records } }),
  };
}
