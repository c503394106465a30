import { SvidgateError } from '../core/index.ts';
import { formatDuration } from './duration.ts';
import {
  choiceField,
  durationField,
  optionalField,
  sectionField,
  textField,
  type Field,
  type ReportMistake,
} from './fields.ts';
import { exactlyOne, environmentField, nameField, requiredPathField, ttlField } from './schema-fields.ts';
import { toVaultConfig, vaultFields, type VaultConfig } from './vault-config.ts';

export interface AuthorityConfig {
  readonly caTtlMs: number;
  /** Never more than caTtlMs. */
  readonly x509SvidTtlMs: number;
  readonly jwtSvidTtlMs: number;
  /** Of X.509 CAs. */
  readonly keyType: 'ec-p256' | 'ec-p384' | 'rsa-2048' | 'rsa-4096';
  readonly jwtKeyType: 'ec-p256' | 'ec-p384' | 'rsa-2048' | 'rsa-4096';
  /** Of X.509-SVIDs. */
  readonly svidKeyType: 'ec-p256' | 'ec-p384' | 'rsa-2048';
  /** How long before its end a CA's successor is published, and how long before it signs; SPIRE's when absent. */
  readonly prepareBeforeMs?: number;
  readonly activateBeforeMs?: number;
  /** How long activation waits for Envoys to acknowledge the new bundle. */
  readonly ackTimeoutMs: number;
  readonly keyManager: KeyManagerConfig;
  /** Absent: CAs sign themselves. */
  readonly upstream?: UpstreamConfig;
}

/** Where a secret text is read from: a file, or an environment variable. */
export type SecretSource =
  { readonly file: string; readonly env?: never } | { readonly env: string; readonly file?: never };

export type KeyManagerConfig =
  | { readonly kind: 'memory' }
  | { readonly kind: 'disk'; readonly encryptionKey?: SecretSource }
  | {
      readonly kind: 'pkcs11';
      readonly module: string;
      readonly tokenLabel: string;
      readonly keyPrefix: string;
      readonly pin: SecretSource;
    }
  | { readonly kind: 'vault'; readonly vault: VaultConfig; readonly mount: string; readonly keyPrefix: string };

export type UpstreamConfig =
  | { readonly kind: 'disk'; readonly certificateFile: string; readonly keyFile: string; readonly bundleFile?: string }
  | { readonly kind: 'vault'; readonly vault: VaultConfig; readonly mount: string };

const KEY_TYPES = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-4096'] as const;

export function authoritySection(folder: string) {
  return sectionField(
    {
      ca_ttl: ttlField('24h', 'Lifetime of a CA certificate.', '10s'),
      x509_svid_ttl: ttlField('1h', 'Lifetime of X.509-SVIDs; at most `ca_ttl`. An entry may set its own.'),
      jwt_svid_ttl: ttlField('5m', 'Lifetime of JWT-SVIDs, cut to what is left of the key. An entry may set its own.'),
      key_type: choiceField(KEY_TYPES, { description: 'Key type of CAs.', default: 'ec-p256' }),
      jwt_key_type: choiceField(KEY_TYPES, {
        description: 'Key type of the keys that sign JWT-SVIDs: ES256, ES384, or RS256 for both RSA types.',
        default: 'ec-p256',
      }),
      svid_key_type: choiceField(['ec-p256', 'ec-p384', 'rsa-2048'], {
        description: 'Key type of X.509-SVIDs.',
        default: 'ec-p256',
      }),
      prepare_before: optionalField(
        ttlField(
          undefined,
          "How long before its end a CA's or JWT key's successor is published; half of its life, at most 30 days, when left out.",
        ),
      ),
      activate_before: optionalField(
        ttlField(
          undefined,
          'How long before its end the successor signs; a sixth of its life, at most 7 days, when left out.',
        ),
      ),
      ack_timeout: durationField({
        description: 'How long a new CA waits for connected Envoys to acknowledge the bundle before it signs.',
        min: '0s',
        max: '1h',
        default: '30s',
      }),
      key_manager: keyManagerSection(folder),
      upstream: optionalField(upstreamSection(folder)),
    },
    { description: 'What signs.' },
    checkLifetimes,
  );
}

function checkLifetimes(
  value: {
    readonly ca_ttl?: number;
    readonly x509_svid_ttl?: number;
    readonly prepare_before?: number | undefined;
    readonly activate_before?: number | undefined;
  },
  report: ReportMistake,
): void {
  const { ca_ttl: caTtlMs, prepare_before: prepareMs, activate_before: activateMs } = value;
  if (caTtlMs !== undefined) {
    for (const key of ['x509_svid_ttl', 'prepare_before', 'activate_before'] as const) {
      const ms = value[key];
      if (ms === undefined || ms <= caTtlMs) continue;
      const why = key.endsWith('_ttl') ? ': an SVID never outlives its CA' : '';
      const message = `\`authority.${key}\` (${formatDuration(ms)}) is longer than \`authority.ca_ttl\``;
      report([key], message, `expected at most ${formatDuration(caTtlMs)}${why}`);
    }
  }
  if (prepareMs !== undefined && activateMs !== undefined && activateMs > prepareMs) {
    const message = '`authority.activate_before` is longer than `authority.prepare_before`';
    report(['activate_before'], message, 'a CA is published before it signs');
  }
}

const MANAGER_KEYS = ['memory', 'disk', 'pkcs11', 'vault'] as const;

function keyManagerSection(folder: string) {
  const memory = sectionField({}, { description: 'Keys in memory: after a restart everything is issued anew.' });
  const disk = sectionField(
    {
      encryption_key_file: optionalField(
        requiredPathField(folder, 'File with the key that encrypts: 32 bytes in base64.'),
      ),
      encryption_key_env: optionalField(environmentField('Environment variable with the key that encrypts.')),
    },
    { description: 'Keys in `data_dir`, in plain unless one of the keys below is given.' },
    (value, report) => {
      if (value.encryption_key_file === undefined || value.encryption_key_env === undefined) return;
      report([], '`disk` has both `encryption_key_file` and `encryption_key_env`', 'give one of them');
    },
  );
  const pkcs11 = sectionField(
    {
      module: requiredPathField(folder, 'The PKCS#11 library.'),
      token_label: nameField('Label of the token.'),
      key_prefix: nameField('Labels of its keys start with this, a slash and the trust domain.', 'svidgate'),
      pin_file: optionalField(requiredPathField(folder, 'File with the PIN.')),
      pin_env: optionalField(environmentField('Environment variable with the PIN.')),
    },
    { description: 'Keys in a hardware security module.' },
    exactlyOne('pkcs11', ['pin_file', 'pin_env']),
  );
  const vault = sectionField(
    {
      ...vaultFields(folder),
      mount: nameField('Where the transit engine is mounted.', 'transit'),
      key_prefix: keyPrefixField(),
    },
    { description: 'Keys in the transit engine of Vault or OpenBao.' },
  );
  return optionalField(
    sectionField(
      {
        memory: optionalField(memory),
        disk: optionalField(disk),
        pkcs11: optionalField(pkcs11),
        vault: optionalField(vault),
      },
      { description: 'Where private keys of the authority are kept: exactly one of the keys; `disk` when left out.' },
      exactlyOne('key_manager', MANAGER_KEYS),
    ),
  );
}

/** With the tag of 16 characters a prefix has the 64 that a transit key manager takes. */
function keyPrefixField(): Field<string> {
  const info = {
    description: 'Names of its keys start with this, a dash and a tag of the trust domain.',
    expected: '1 to 47 letters, digits, `_` or `-`, the first none of `-`',
    default: 'svidgate',
  };
  return textField(info, (text) => {
    if (!/^\w[\w-]{0,46}$/.test(text)) throw new SvidgateError('config_invalid', `expected ${info.expected}`);
    return text;
  });
}

function upstreamSection(folder: string) {
  const disk = sectionField(
    {
      certificate: requiredPathField(folder, 'PEM of the CA that signs ours, with those above it.'),
      key: requiredPathField(folder, 'PEM of its key.'),
      bundle: optionalField(requiredPathField(folder, 'PEM of the roots, when `certificate` is not a root itself.')),
    },
    { description: 'A CA on disk, loaded again when it changes.' },
  );
  const vault = sectionField(
    { ...vaultFields(folder), mount: nameField('Where the PKI engine is mounted.', 'pki') },
    { description: 'The PKI engine of Vault or OpenBao.' },
  );
  return sectionField(
    { disk: optionalField(disk), vault: optionalField(vault) },
    { description: 'The CA above ours: exactly one of the keys. When left out, CAs sign themselves.' },
    exactlyOne('upstream', ['disk', 'vault']),
  );
}

type Output<F> = F extends Field<infer T> ? T : never;
type RawAuthority = Output<ReturnType<typeof authoritySection>>;

export function toAuthorityConfig(raw: RawAuthority): AuthorityConfig {
  return {
    caTtlMs: raw.ca_ttl,
    x509SvidTtlMs: raw.x509_svid_ttl,
    jwtSvidTtlMs: raw.jwt_svid_ttl,
    keyType: raw.key_type,
    jwtKeyType: raw.jwt_key_type,
    svidKeyType: raw.svid_key_type,
    ...(raw.prepare_before === undefined ? {} : { prepareBeforeMs: raw.prepare_before }),
    ...(raw.activate_before === undefined ? {} : { activateBeforeMs: raw.activate_before }),
    ackTimeoutMs: raw.ack_timeout,
    keyManager: toKeyManager(raw.key_manager),
    ...(raw.upstream === undefined ? {} : { upstream: toUpstream(raw.upstream) }),
  };
}

function toKeyManager(raw: RawAuthority['key_manager']): KeyManagerConfig {
  if (raw?.memory !== undefined) return { kind: 'memory' };
  if (raw?.pkcs11 !== undefined) {
    const { module, token_label: tokenLabel, key_prefix: keyPrefix, pin_file: file, pin_env: variable } = raw.pkcs11;
    const pin = toSecretSource(file, variable);
    if (pin === undefined) throw new SvidgateError('config_invalid', 'no PIN is given');
    return { kind: 'pkcs11', module, tokenLabel, keyPrefix, pin };
  }
  if (raw?.vault !== undefined) {
    const { mount, key_prefix: keyPrefix } = raw.vault;
    return { kind: 'vault', vault: toVaultConfig(raw.vault), mount, keyPrefix };
  }
  const encryptionKey = toSecretSource(raw?.disk?.encryption_key_file, raw?.disk?.encryption_key_env);
  return { kind: 'disk', ...(encryptionKey === undefined ? {} : { encryptionKey }) };
}

function toSecretSource(file: string | undefined, variable: string | undefined): SecretSource | undefined {
  if (file !== undefined) return { file };
  return variable === undefined ? undefined : { env: variable };
}

function toUpstream(raw: NonNullable<RawAuthority['upstream']>): UpstreamConfig {
  if (raw.disk !== undefined) {
    const { certificate: certificateFile, key: keyFile, bundle: bundleFile } = raw.disk;
    return { kind: 'disk', certificateFile, keyFile, ...(bundleFile === undefined ? {} : { bundleFile }) };
  }
  if (raw.vault !== undefined) return { kind: 'vault', vault: toVaultConfig(raw.vault), mount: raw.vault.mount };
  throw new SvidgateError('config_invalid', 'no upstream is given');
}
