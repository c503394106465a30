import { SvidgateError } from '../core/index.ts';
import {
  durationField,
  integerField,
  listField,
  optionalField,
  sectionField,
  textField,
  type Field,
} from './fields.ts';
import { requiredPathField } from './schema-fields.ts';

/** Whom policies may ask with `http.send`, and how much. */
export interface HttpSendConfig {
  /** At least one. */
  readonly allow: readonly AllowedOriginConfig[];
  readonly timeoutMs: number;
  readonly maxResponseBytes: number;
  /** For each policy. */
  readonly maxInFlight: number;
  /** For each policy. */
  readonly cacheBytes: number;
  readonly caFile?: string;
}

/** As the parser of URLs writes it. */
export interface AllowedOriginConfig {
  readonly scheme: 'http' | 'https';
  readonly hostname: string;
  /** Whether `hostname` stands for all names beneath it, and not for itself. */
  readonly isSuffix: boolean;
  readonly port: number;
}

const MIB = 2 ** 20;

export function httpSendSection(folder: string) {
  return sectionField(
    {
      allow: listField(
        textField({ description: 'One origin.', expected: 'an origin such as https://opa.acme.test' }, parseAllowed),
        {
          description:
            'Origins that may be asked, exactly, or with `*.` for all names beneath one. Nothing else is connected to, ' +
            'redirects included.',
          expected: 'a list of origins such as https://opa.acme.test:8181',
          min: 1,
        },
      ),
      timeout: durationField({
        description: 'The longest exchange. The deadline of the request and `authz.eval_timeout` hold, too.',
        min: '1ms',
        max: '1m',
        default: '500ms',
      }),
      max_response_bytes: integerField({
        description: 'The largest body of an answer.',
        min: 1024,
        max: 2 * MIB,
        default: MIB,
        unit: 'bytes',
      }),
      max_in_flight: integerField({
        description: 'How many exchanges of one policy may be under way; requests that need one more are denied.',
        min: 1,
        max: 10_000,
        default: 100,
      }),
      cache: sectionField(
        {
          max_bytes: integerField({
            description: 'How much is kept for each policy between decisions, where request and answer allow it.',
            min: 0,
            max: 32 * MIB,
            default: 16 * MIB,
            unit: 'bytes',
          }),
        },
        { description: 'Answers that are kept.' },
      ),
      ca_file: optionalField(
        requiredPathField(folder, "PEM of the CAs that servers' certificates are checked with; Node's own without it."),
      ),
    },
    { description: 'Whom policies may ask. `http.send` and `net.lookup_ip_addr` are mistakes without it.' },
  );
}

type Raw = ReturnType<typeof httpSendSection> extends Field<infer T> ? T : never;

export function toHttpSendConfig(raw: Raw): HttpSendConfig {
  return {
    allow: raw.allow,
    timeoutMs: raw.timeout,
    maxResponseBytes: raw.max_response_bytes,
    maxInFlight: raw.max_in_flight,
    cacheBytes: raw.cache.max_bytes,
    ...(raw.ca_file === undefined ? {} : { caFile: raw.ca_file }),
  };
}

/** Throws `config_invalid`. */
function parseAllowed(text: string): AllowedOriginConfig {
  const url = URL.parse(text);
  const scheme = url?.protocol.slice(0, -1);
  if (url === null || (scheme !== 'http' && scheme !== 'https')) {
    throw new SvidgateError('config_invalid', 'expected https://HOST or http://HOST, with or without a port');
  }
  if (url.href !== `${scheme}://${url.host}/`) {
    throw new SvidgateError('config_invalid', 'expected scheme, host and port only: no path, query or credentials');
  }
  const isSuffix = url.hostname.startsWith('*.');
  const hostname = isSuffix ? url.hostname.slice(2) : url.hostname;
  if (hostname.includes('*') || (isSuffix && !hostname.includes('.'))) {
    throw new SvidgateError('config_invalid', 'expected no `*` but in front of a domain of two names or more');
  }
  const port = url.port === '' ? { http: 80, https: 443 }[scheme] : Number(url.port);
  return { scheme, hostname, isSuffix, port };
}
