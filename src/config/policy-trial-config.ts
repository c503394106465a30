import { SvidgateError } from '../core/index.ts';
import type { PolicyConfig } from './authz-config.ts';
import { optionalField, sectionField, textField, type ReportMistake } from './fields.ts';

/** The keys of a policy that does not decide, or not yet. */
export function trialFields() {
  return {
    shadow_of: optionalField(
      textField({
        description:
          'The policy whose requests it is tried on: it sees them, and decides none. Routes cannot ask for it.',
        expected: 'the name of another policy',
      }),
    ),
    unenforced: optionalField(
      sectionField(
        {
          until: textField(
            {
              description: 'When it begins to decide.',
              expected: 'a time with its zone, such as 2026-12-31T00:00:00Z',
            },
            parseTime,
          ),
        },
        { description: 'Until then requests are let through whatever the policy says; what it says is counted.' },
      ),
    ),
  };
}

interface RawTrial {
  readonly shadow_of?: string | undefined;
  readonly unenforced?: { readonly until: number } | undefined;
}

export function toTrial({
  shadow_of: shadowOf,
  unenforced,
}: RawTrial): Pick<PolicyConfig, 'shadowOf' | 'unenforcedUntil'> {
  return {
    ...(shadowOf === undefined ? {} : { shadowOf }),
    ...(unenforced === undefined ? {} : { unenforcedUntil: unenforced.until }),
  };
}

/** A shadow stands beside a policy that answers. */
export function checkShadows(
  { policies }: { readonly policies?: Readonly<Record<string, RawTrial>> | undefined },
  report: ReportMistake,
): void {
  for (const [name, { shadow_of: live, unenforced }] of Object.entries(policies ?? {})) {
    if (live === undefined) continue;
    const place = ['policies', name, 'shadow_of'];
    const other = Object.hasOwn(policies ?? {}, live) ? policies?.[live] : undefined;
    if (unenforced !== undefined) {
      report(place, `policy \`${name}\` has \`shadow_of\` and \`unenforced\``, 'a shadow never decides: leave one out');
    }
    if (live === name) report(place, `policy \`${name}\` is a shadow of itself`, 'name the policy that answers');
    else if (other === undefined) report(place, `there is no policy \`${live}\``, 'name one of `authz.policies`');
    else if (other.shadow_of !== undefined)
      report(
        place,
        `policy \`${live}\` is a shadow itself`,
        `name \`${other.shadow_of}\`, or another policy that answers`,
      );
  }
}

/** RFC 3339, by whole seconds. */
const TIME = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Epoch milliseconds. Throws `config_invalid`. */
function parseTime(text: string): number {
  const [, day = '', time = '', zone = ''] = TIME.exec(text) ?? [];
  const ms = Date.parse(`${day}T${time}${zone}`);
  // Date.parse makes a 2 March of 30 February.
  const isReal =
    Number.isFinite(ms) && new Date(Date.parse(`${day}T${time}Z`)).toISOString().startsWith(`${day}T${time}`);
  if (isReal) return ms;
  throw new SvidgateError('config_invalid', 'expected a time with its zone, such as 2026-12-31T00:00:00Z');
}
