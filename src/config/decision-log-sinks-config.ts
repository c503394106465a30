import { join } from 'node:path';
import { SvidgateError } from '../core/index.ts';
import {
  durationField,
  flagField,
  integerField,
  optionalField,
  sectionField,
  textField,
  type Field,
  type ReportMistake,
} from './fields.ts';
import { isLoopback } from './listen-address.ts';
import { requiredPathField } from './schema-fields.ts';

/** Where decision records are kept, and who gets them. */
export interface DecisionLogSinksConfig {
  readonly folder: string;
  readonly maxBytes: number;
  readonly stdout: boolean;
  readonly opa?: OpaSinkConfig;
  readonly otlp?: ReceiverConfig;
}

/** A server that takes decision records. */
export interface ReceiverConfig {
  /** https, or http of this machine. */
  readonly url: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
}

export interface OpaSinkConfig extends ReceiverConfig {
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  readonly uploadBytes: number;
  readonly maxDecisionsPerSecond?: number;
}

const MIB = 2 ** 20;

/** Keys of the section `decision_log`. */
export function decisionLogSinkFields(folder: string) {
  return {
    folder: optionalField(
      requiredPathField(folder, 'Folder of the records, mode 0700; `decisions` in `data_dir` when left out.'),
    ),
    max_bytes: integerField({
      description: 'How much is kept on disk; the oldest records go first.',
      min: MIB,
      max: Number.MAX_SAFE_INTEGER,
      default: 1024 * MIB,
      unit: 'bytes',
    }),
    stdout: flagField({ description: 'Whether records are also written to standard output.', default: false }),
    opa: optionalField(opaSection(folder)),
    otlp: optionalField(
      sectionField(receiverFields(folder, 'https://otel.acme.test/v1/logs'), {
        description: 'A receiver of OpenTelemetry logs (OTLP over HTTP, JSON).',
      }),
    ),
  };
}

function opaSection(folder: string) {
  return sectionField(
    {
      ...receiverFields(folder, 'https://logs.acme.test/logs'),
      min_delay: durationField({
        description: 'The shortest pause between uploads.',
        min: '10ms',
        max: '1h',
        default: '5s',
      }),
      max_delay: durationField({
        description: 'The longest pause between uploads, also after failures.',
        min: '10ms',
        max: '1h',
        default: '60s',
      }),
      upload_bytes: integerField({
        description: 'The largest body of an upload, compressed.',
        min: 1024,
        max: 64 * MIB,
        default: 32 * 1024,
        unit: 'bytes',
      }),
      max_decisions_per_second: optionalField(
        integerField({
          description: 'The most records that are sent in a second; the others wait on disk.',
          min: 1,
          max: 1_000_000,
        }),
      ),
    },
    { description: "A server with OPA's decision log API." },
    (value, report) => checkDelays(value, report),
  );
}

function receiverFields(folder: string, example: string) {
  return {
    url: textField({ description: 'Where records are posted to.', expected: `a URL such as ${example}` }, parseUrl),
    token_file: optionalField(requiredPathField(folder, 'File with a bearer token, read for each upload.')),
    ca_file: optionalField(
      requiredPathField(
        folder,
        "PEM of the CAs that the server's certificate is checked with; the system's without it.",
      ),
    ),
  };
}

function checkDelays(value: { readonly min_delay?: number; readonly max_delay?: number }, report: ReportMistake): void {
  const { min_delay: min, max_delay: max } = value;
  if (min === undefined || max === undefined || min <= max) return;
  report(['max_delay'], '`max_delay` is shorter than `min_delay`', 'give it at least the length of `min_delay`');
}

/** Throws `config_invalid`. */
function parseUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new SvidgateError('config_invalid', 'expected a URL such as https://logs.acme.test/logs');
  }
  if (url.username !== '' || url.password !== '') {
    throw new SvidgateError('config_invalid', 'expected no credentials in the URL; a token has a file of its own');
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (url.protocol === 'http:' && !isLoopback(host) && host !== 'localhost') {
    throw new SvidgateError('config_invalid', 'expected https; http is for receivers on this machine');
  }
  return url.href;
}

type Raw = { [Name in keyof Fields]: Fields[Name] extends Field<infer T> ? T : never };
type Fields = ReturnType<typeof decisionLogSinkFields>;
type RawReceiver = {
  readonly url: string;
  readonly token_file?: string | undefined;
  readonly ca_file?: string | undefined;
};

export function toDecisionLogSinks(raw: Raw, dataDir: string): DecisionLogSinksConfig {
  const { opa, otlp } = raw;
  return {
    folder: raw.folder ?? join(dataDir, 'decisions'),
    maxBytes: raw.max_bytes,
    stdout: raw.stdout,
    ...(otlp === undefined ? {} : { otlp: toReceiver(otlp) }),
    ...(opa === undefined
      ? {}
      : {
          opa: {
            ...toReceiver(opa),
            minDelayMs: opa.min_delay,
            maxDelayMs: opa.max_delay,
            uploadBytes: opa.upload_bytes,
            ...(opa.max_decisions_per_second === undefined
              ? {}
              : { maxDecisionsPerSecond: opa.max_decisions_per_second }),
          },
        }),
  };
}

function toReceiver({ url, token_file: tokenFile, ca_file: caFile }: RawReceiver): ReceiverConfig {
  return {
    url,
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(caFile === undefined ? {} : { caFile }),
  };
}
