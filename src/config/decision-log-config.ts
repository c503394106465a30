import { isCredentialName, SvidgateError } from '../core/index.ts';
import { decisionLogSinkFields, toDecisionLogSinks, type DecisionLogSinksConfig } from './decision-log-sinks-config.ts';
import { listField, namedFields, optionalField, sectionField, shareField, textField, type Field } from './fields.ts';

/** The log of decisions. */
export interface DecisionLogConfig extends DecisionLogSinksConfig {
  /** Put into each record. */
  readonly labels: Readonly<Record<string, string>>;
  readonly shown: ShownPartsConfig;
}

/** What records hold of a request beyond the allow-list. */
export interface ShownPartsConfig {
  /** Headers, in lower case. */
  readonly headers: readonly string[];
  readonly query: readonly string[];
  readonly claims: readonly string[];
  /** JSON pointers into a record. */
  readonly paths: readonly string[];
}

const HEADER_NAME = /^:?[a-z0-9!#$%&'*+.^_`|~-]+$/;
const SHOWN_ROOT = /^\/(?:input|result|nd_builtin_cache)(?:\/|$)/;

export function decisionLogSection(folder: string) {
  return sectionField(
    {
      ...decisionLogSinkFields(folder),
      labels: optionalField(
        namedFields(textField({ description: 'One label.', expected: 'a text' }), {
          description: 'Labels of every record, such as the cluster.',
          expected: 'at least one label, such as `cluster: west`',
          pattern: /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/,
          patternText: 'a name of letters, digits, `_`, `.` and `-`',
        }),
      ),
      show: showSection(),
    },
    { description: 'The log of decisions. Nothing is recorded when this section is left out.' },
  );
}

function showSection() {
  const names = (description: string, expected: string, parse: (text: string) => string) =>
    optionalField(listField(textField({ description: 'One name.', expected }, parse), { description, expected }));
  return sectionField(
    {
      headers: names('Headers that are recorded with their values.', 'a list of names such as x-tenant', parseHeader),
      query: names('Parameters of queries that are recorded.', 'a list of names such as page', parseName),
      claims: names('Claims of verified tokens that are recorded.', 'a list of names such as groups', parseName),
      paths: names(
        'Parts of records that are kept whole, as JSON pointers below `/input`, `/result` or `/nd_builtin_cache`.',
        'a list of pointers such as /input/parsed_body/order',
        parsePointer,
      ),
    },
    {
      description:
        'What records hold beyond the allow-list. Credentials, cookies, keys and certificates are never recorded.',
    },
  );
}

/** The key of a policy. */
export function policyDecisionLogField() {
  return optionalField(
    sectionField(
      {
        sample_allows: shareField({
          description: 'The share of plain allows that is recorded. Denies and failures always are.',
          default: 1,
        }),
      },
      { description: 'What of its decisions is recorded.' },
    ),
  );
}

type Raw = ReturnType<typeof decisionLogSection> extends Field<infer T> ? T : never;

export function toDecisionLogConfig(raw: Raw, dataDir: string): DecisionLogConfig {
  const { headers = [], query = [], claims = [], paths = [] } = raw.show;
  return {
    ...toDecisionLogSinks({ ...raw, folder: raw.folder, opa: raw.opa, otlp: raw.otlp }, dataDir),
    labels: raw.labels ?? {},
    shown: { headers, query, claims, paths },
  };
}

export function toSampling(raw: { readonly sample_allows: number } | undefined): { readonly sampleAllows?: number } {
  return raw === undefined ? {} : { sampleAllows: raw.sample_allows };
}

function parseHeader(text: string): string {
  const name = text.toLowerCase();
  if (!HEADER_NAME.test(name)) throw new SvidgateError('config_invalid', 'expected the name of a header');
  return parseName(name);
}

function parseName(text: string): string {
  if (text === '' || text.length > 255) throw new SvidgateError('config_invalid', 'expected a name');
  if (isCredentialName(text)) {
    throw new SvidgateError('config_invalid', 'credentials are never recorded: leave the name out');
  }
  return text;
}

function parsePointer(text: string): string {
  if (!SHOWN_ROOT.test(text) || text.endsWith('/') || /~(?![01])/.test(text)) {
    throw new SvidgateError('config_invalid', 'expected a JSON pointer such as /input/parsed_body/order');
  }
  for (const segment of text.split('/')) {
    if (!isCredentialName(segment.replaceAll('~1', '/').replaceAll('~0', '~'))) continue;
    throw new SvidgateError('config_invalid', 'credentials are never recorded: leave the pointer out');
  }
  return text;
}
