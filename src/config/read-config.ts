import { dirname, resolve } from 'node:path';
import { SvidgateError } from '../core/index.ts';
import { toAttestationConfig } from './attestation-config.ts';
import { toAuthorityConfig } from './authority-config.ts';
import { toAuthzConfig } from './authz-config.ts';
import type { Config, IdentitySourceConfig } from './config.ts';
import { toDecisionLogConfig } from './decision-log-config.ts';
import { parseYamlDocument } from './document.ts';
import type { Field } from './fields.ts';
import { formatMistake, type Mistake, type Parsed } from './mistake.ts';
import { toAdminConfig, toAuditConfig } from './operation-config.ts';
import { readTextFile } from './read-text-file.ts';
import { configSchema } from './schema.ts';
import { toSdsConfig } from './sds-config.ts';

const MAX_CONFIG_BYTES = 1024 * 1024;

/** Reads and checks a configuration file. Everything wrong with it, unreadable included, comes back as mistakes. */
export async function readConfig(file: string): Promise<Parsed<Config>> {
  const read = await readTextFile(file, { maxBytes: MAX_CONFIG_BYTES });
  return read.mistake === undefined ? parseConfig(read.text, file) : { mistakes: [read.mistake] };
}

/** Checks the text of a configuration. Relative paths in it start at the file's folder. */
export function parseConfig(text: string, file: string): Parsed<Config> {
  const absolute = resolve(file);
  const parsed = parseYamlDocument({ text, file, schema: configSchema(dirname(absolute)) });
  return parsed.mistakes === undefined ? { ...parsed, value: toConfig(parsed.value, absolute) } : parsed;
}

/** As readConfig, but throws `config_invalid` with every mistake in its message. */
export async function loadConfig(file: string): Promise<Config> {
  const parsed = await readConfig(file);
  if (parsed.mistakes !== undefined) throw configInvalid(parsed.mistakes);
  return parsed.value;
}

/** The error that carries mistakes to where they are shown. */
export function configInvalid(mistakes: readonly Mistake[]): SvidgateError {
  return new SvidgateError('config_invalid', mistakes.map(formatMistake).join('\n'));
}

type RawConfig = ReturnType<typeof configSchema> extends Field<infer T> ? T : never;

function toConfig(raw: RawConfig, file: string): Config {
  const { telemetry } = raw;
  return {
    file,
    trustDomain: raw.trust_domain,
    dataDir: raw.data_dir,
    workloadSocket: raw.workload_socket,
    workloadSocketAliases: raw.workload_socket_aliases ?? [],
    identitySource: toIdentitySource(raw),
    admin: toAdminConfig(raw.admin),
    authority: toAuthorityConfig(raw.authority),
    ...(raw.entries === undefined ? {} : { entriesFile: raw.entries }),
    attestation: toAttestationConfig(raw.attestation),
    ...(raw.federation.bundles === undefined ? {} : { bundlesFolder: raw.federation.bundles }),
    revokesOnWorkloadExit: raw.revocation.on_workload_exit,
    audit: toAuditConfig(raw.audit, raw.data_dir),
    sds: toSdsConfig(raw.sds),
    ...(raw.authz === undefined ? {} : { authz: toAuthzConfig(raw.authz) }),
    ...(raw.decision_log === undefined ? {} : { decisionLog: toDecisionLogConfig(raw.decision_log, raw.data_dir) }),
    telemetry: {
      ...(telemetry.listen === undefined ? {} : { listen: telemetry.listen }),
      logLevel: telemetry.log_level,
    },
  };
}

function toIdentitySource(raw: RawConfig): IdentitySourceConfig {
  const { identity_source: kind, upstream_workload_socket: socket } = raw;
  return kind === 'workload_api' && socket !== undefined ? { kind, socket } : { kind: 'authority' };
}
