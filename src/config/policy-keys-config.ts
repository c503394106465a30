import { JWS_ALGORITHMS, SvidgateError } from '../core/index.ts';
import {
  choiceField,
  listField,
  namedFields,
  optionalField,
  sectionField,
  textField,
  type Field,
  type ReportMistake,
} from './fields.ts';
import { exactlyOne, pathField } from './schema-fields.ts';

/** A key whose signatures on bundles count. */
export interface PolicyKeyConfig {
  readonly name: string;
  /** What signatures call it. */
  readonly id: string;
  readonly algorithm: (typeof JWS_ALGORITHMS)[number];
  /** PEM of a public key or a certificate; for HS, the secret. */
  readonly file: string;
}

/** Which signatures the bundle of a policy must have. */
export interface PolicyVerifyConfig {
  readonly keys: readonly PolicyKeyConfig[];
  /** Empty where the signature says nothing of it. */
  readonly scope: string;
  readonly excludeFiles: readonly string[];
}

/** `authz.policy_keys`. */
export function policyKeysField(folder: string) {
  const key = sectionField(
    {
      algorithm: choiceField(JWS_ALGORITHMS, {
        description: 'The only algorithm that it counts with, whatever a signature says.',
        default: 'RS256',
      }),
      public_key_file: optionalField(
        pathField(folder, undefined, 'PEM of the public key, or of a certificate. Read again when it changes.'),
      ),
      secret_file: optionalField(
        pathField(
          folder,
          undefined,
          'The secret of an HS algorithm, every byte of the file. Read again when it changes.',
        ),
      ),
      key_id: optionalField(
        textField({
          description: 'What signatures call it, where a policy has several keys. Default: its name.',
          expected: 'the id of a key, such as `release-2026`',
        }),
      ),
    },
    { description: 'One key.' },
    (value, report, wrong) => {
      exactlyOne('key', ['public_key_file', 'secret_file'])(value, report, wrong);
      if (wrong.has('algorithm') || value.algorithm === undefined) return;
      const isSecret = value.algorithm.startsWith('HS');
      const [own, other] = isSecret
        ? (['secret_file', 'public_key_file'] as const)
        : (['public_key_file', 'secret_file'] as const);
      if (value[other] === undefined || value[own] !== undefined) return;
      report([other], `\`${value.algorithm}\` has no \`${other}\``, `give a \`${own}\``);
    },
  );
  return optionalField(
    namedFields(key, {
      description: 'Keys that bundles are signed with, by name.',
      expected: 'at least one key, such as `release: { public_key_file: ./release.pem }`',
      pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
      patternText: 'expected up to 64 letters, digits, `.`, `-` or `_`',
    }),
  );
}

/** `verify` of a policy. */
export function verifyField() {
  return optionalField(
    sectionField(
      {
        keys: listField(textField({ description: 'One name.', expected: 'a name of `authz.policy_keys`' }), {
          description: 'Keys of `authz.policy_keys`. With several, the signature names one of them by its id.',
          expected: 'a list of names such as `release`',
          min: 1,
        }),
        scope: textField({
          description: 'The `scope` that the signature must have; otherwise it must have none.',
          expected: 'a text such as `read`',
          default: '',
        }),
        exclude_files: optionalField(
          listField(textField({ description: 'One pattern.', expected: 'a pattern such as `notes/*`' }, parsePattern), {
            description: 'Files of the bundle that need not be signed; a `*` ends at a slash.',
            expected: 'a list of patterns such as `notes/*`',
          }),
        ),
      },
      { description: 'Whose signature the bundle must bear. Without it, a signed bundle is refused.' },
    ),
  );
}

type RawKeys = ReturnType<typeof policyKeysField> extends Field<infer T> ? T : never;
type RawVerify = ReturnType<typeof verifyField> extends Field<infer T> ? T : never;

/** Empty for what the keys do not have: checkVerify reports it. */
export function toVerify(verify: RawVerify, keys: RawKeys): PolicyVerifyConfig | undefined {
  if (verify === undefined) return undefined;
  const named = verify.keys.flatMap((name): PolicyKeyConfig[] => {
    const key = keys !== undefined && Object.hasOwn(keys, name) ? keys[name] : undefined;
    if (key === undefined) return [];
    const { algorithm, public_key_file: publicKey, secret_file: secret, key_id: id = name } = key;
    return [{ name, id, algorithm, file: publicKey ?? secret ?? '' }];
  });
  return { keys: named, scope: verify.scope, excludeFiles: verify.exclude_files ?? [] };
}

interface RawPolicies {
  readonly policy_keys?: RawKeys;
  readonly policies?:
    Readonly<Record<string, { readonly path?: string | undefined; readonly verify?: RawVerify }>> | undefined;
}

/** Each policy's keys are there and differ in their ids, and only bundles are verified. */
export function checkVerify({ policies = {}, policy_keys: keys = {} }: RawPolicies, report: ReportMistake): void {
  for (const [name, { path, verify }] of Object.entries(policies)) {
    if (verify === undefined) continue;
    const place = ['policies', name, 'verify'];
    if (path !== undefined && !/\.(?:tar\.gz|tgz)$/.test(path)) {
      report(place, `policy \`${name}\` is no bundle, and bears no signature`, 'leave `verify` out, or name a .tar.gz');
    }
    const ids = new Set<string>();
    for (const [index, key] of verify.keys.entries()) {
      const found = Object.hasOwn(keys, key) ? keys[key] : undefined;
      const id = found?.key_id ?? key;
      const at = [...place, 'keys', index];
      if (found === undefined) report(at, `there is no key \`${key}\``, 'name one of `authz.policy_keys`');
      else if (ids.has(id))
        report(at, `two keys have the id \`${id}\``, 'name each once, and give each its own `key_id`');
      ids.add(id);
    }
  }
}

/** Throws `config_invalid` for what Go's filepath.Match would. */
function parsePattern(text: string): string {
  if (text === '' || /[[\]\\]/.test(text)) {
    throw new SvidgateError('config_invalid', 'expected a pattern of names, `/`, `*` and `?`');
  }
  return text;
}
