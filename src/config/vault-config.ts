import { SvidgateError } from '../core/index.ts';
import { optionalField, sectionField, textField, type Field } from './fields.ts';
import { exactlyOne, environmentField, nameField, requiredPathField } from './schema-fields.ts';

/** How to reach a Vault or OpenBao server. */
export interface VaultConfig {
  /** `https://HOST:PORT`, or http on loopback. */
  readonly address: string;
  readonly namespace?: string;
  /** PEM of the CAs that its certificate is checked with; the system's when absent. */
  readonly caFile?: string;
  readonly auth: VaultAuthConfig;
}

export type VaultAuthConfig =
  | { readonly kind: 'token_file'; readonly file: string }
  | { readonly kind: 'token_env'; readonly variable: string }
  | { readonly kind: 'approle'; readonly mount: string; readonly roleId: string; readonly secretIdFile: string }
  | { readonly kind: 'kubernetes'; readonly mount: string; readonly role: string; readonly jwtFile: string }
  | {
      readonly kind: 'certificate';
      readonly mount: string;
      readonly certificateFile: string;
      readonly keyFile: string;
    };

/** The keys that every section about a Vault has. */
export function vaultFields(folder: string) {
  return {
    address: textField(
      { description: 'Address of the Vault or OpenBao server.', expected: 'an https URL; http on loopback alone' },
      parseVaultAddress,
    ),
    namespace: optionalField(nameField('Namespace of the server.')),
    ca_file: optionalField(requiredPathField(folder, "PEM of the CAs that the server's certificate is checked with.")),
    auth: vaultAuthSection(folder),
  };
}

const AUTH_KEYS = ['token_file', 'token_env', 'approle', 'kubernetes', 'certificate'] as const;

function vaultAuthSection(folder: string) {
  const approle = sectionField(
    {
      role_id: nameField('The role.'),
      secret_id_file: requiredPathField(folder, 'File with the secret id.'),
      mount: nameField('Where the method is mounted.', 'approle'),
    },
    { description: 'Log in by AppRole.' },
  );
  const kubernetes = sectionField(
    {
      role: nameField('The role.'),
      jwt_file: requiredPathField(folder, "File with the service account's token."),
      mount: nameField('Where the method is mounted.', 'kubernetes'),
    },
    { description: 'Log in by a Kubernetes service account.' },
  );
  const certificate = sectionField(
    {
      certificate: requiredPathField(folder, 'PEM of the client certificate.'),
      key: requiredPathField(folder, 'PEM of its key.'),
      mount: nameField('Where the method is mounted.', 'cert'),
    },
    { description: 'Log in by a client certificate.' },
  );
  return sectionField(
    {
      token_file: optionalField(requiredPathField(folder, 'File with a token, read again when it changes.')),
      token_env: optionalField(environmentField('Environment variable with a token.')),
      approle: optionalField(approle),
      kubernetes: optionalField(kubernetes),
      certificate: optionalField(certificate),
    },
    { description: 'How to log in: exactly one of the keys.' },
    exactlyOne('auth', AUTH_KEYS),
  );
}

type Output<F> = F extends Field<infer T> ? T : never;
type RawAuth = Output<ReturnType<typeof vaultAuthSection>>;

interface RawVault {
  readonly address: string;
  readonly namespace?: string | undefined;
  readonly ca_file?: string | undefined;
  readonly auth: RawAuth;
}

export function toVaultConfig(raw: RawVault): VaultConfig {
  return {
    address: raw.address,
    ...(raw.namespace === undefined ? {} : { namespace: raw.namespace }),
    ...(raw.ca_file === undefined ? {} : { caFile: raw.ca_file }),
    auth: toAuth(raw.auth),
  };
}

function toAuth(raw: RawAuth): VaultAuthConfig {
  const { token_file: file, token_env: variable, approle, kubernetes, certificate } = raw;
  if (file !== undefined) return { kind: 'token_file', file };
  if (variable !== undefined) return { kind: 'token_env', variable };
  if (approle !== undefined) {
    const { mount, role_id: roleId, secret_id_file: secretIdFile } = approle;
    return { kind: 'approle', mount, roleId, secretIdFile };
  }
  if (kubernetes !== undefined) {
    return { kind: 'kubernetes', mount: kubernetes.mount, role: kubernetes.role, jwtFile: kubernetes.jwt_file };
  }
  if (certificate !== undefined) {
    const { mount, certificate: certificateFile, key: keyFile } = certificate;
    return { kind: 'certificate', mount, certificateFile, keyFile };
  }
  throw new SvidgateError('config_invalid', 'no way to log in is given'); // the section's own check comes first
}

function parseVaultAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLoopback = url !== undefined && /^(?:127(?:\.\d+){3}|\[::1\]|localhost)$/.test(url.hostname);
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback);
  if (url === undefined || !isSafe || url.username !== '' || url.password !== '' || url.search !== '') {
    throw new SvidgateError(
      'config_invalid',
      'expected https://HOST:PORT without user or query; http on loopback alone',
    );
  }
  return url.href.replace(/\/+$/, '');
}
