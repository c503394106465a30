import { join } from 'node:path';
import { SvidgateError } from '../core/index.ts';
import {
  choiceField,
  flagField,
  integerField,
  listField,
  optionalField,
  sectionField,
  textField,
  type Field,
} from './fields.ts';
import { requiredPathField, socketField } from './schema-fields.ts';

/** Who may call the admin API, by the kernel's word. */
export interface AdminCaller {
  readonly uid: number;
  readonly role: 'viewer' | 'registrar' | 'policy' | 'authority';
  /** Registrars only: the SPIFFE ID paths they may touch start with this; any when absent. */
  readonly pathPrefix?: string;
}

export interface AdminConfig {
  readonly socket: string;
  /** Absent: root and the server's own user, with the role `authority`. */
  readonly allow?: readonly AdminCaller[];
}

export interface AuditConfig {
  readonly file: string;
  /** Size at which the file is rotated. */
  readonly maxBytes: number;
  /** How many rotated files are kept. */
  readonly maxFiles: number;
  /** Whether what cannot be recorded must not happen. */
  readonly required: boolean;
}

const MAX_UID = 2 ** 32 - 2;

export function adminSection(folder: string) {
  const caller = sectionField(
    {
      uid: integerField({ description: 'User id of the caller, from the kernel.', min: 0, max: MAX_UID }),
      role: choiceField(['viewer', 'registrar', 'policy', 'authority'], {
        description: 'What it may do: read; change entries; change policies; everything.',
        default: 'viewer',
      }),
      path_prefix: optionalField(
        textField(
          { description: 'Registrars only: the SPIFFE IDs they may touch.', expected: 'a path such as /team-a/' },
          parsePathPrefix,
        ),
      ),
    },
    { description: 'One caller.' },
    (value, report) => {
      if (value.path_prefix === undefined || value.role === undefined || value.role === 'registrar') return;
      report(['path_prefix'], '`path_prefix` has no meaning for this role', 'leave it out, or set `role: registrar`');
    },
  );
  return sectionField(
    {
      socket: socketField(folder, './run/admin.sock', 'Unix socket of the admin API, mode 0600.'),
      allow: optionalField(
        listField(caller, {
          description: "Who may call it. When left out: root and svidgate's own user, with the role `authority`.",
          expected: 'a list of callers such as `{ uid: 1000, role: viewer }`',
        }),
      ),
    },
    { description: 'The admin API.' },
  );
}

export function auditSection(folder: string) {
  return sectionField(
    {
      file: optionalField(
        requiredPathField(folder, 'The audit log, one JSON line for each event; in `data_dir` when left out.'),
      ),
      max_bytes: integerField({
        description: 'Size at which it is rotated.',
        min: 64 * 1024,
        max: Number.MAX_SAFE_INTEGER,
        default: 64 * 1024 * 1024,
        unit: 'bytes',
      }),
      max_files: integerField({ description: 'How many rotated files are kept.', min: 1, max: 1000, default: 8 }),
      required: flagField({
        description: 'Whether nothing is issued or changed that cannot be recorded, such as when the disk is full.',
        default: false,
      }),
    },
    { description: 'The audit log.' },
  );
}

export function federationSection(folder: string) {
  return sectionField(
    {
      bundles: optionalField(
        requiredPathField(
          folder,
          'Folder with bundles of foreign trust domains, `TRUST_DOMAIN.json` or `.pem`, watched.',
        ),
      ),
    },
    { description: 'Foreign trust domains.' },
  );
}

export function revocationSection() {
  return sectionField(
    {
      on_workload_exit: flagField({
        description: 'Whether an X.509-SVID is revoked when the last process that was given it has ended.',
        default: false,
      }),
    },
    { description: 'What is revoked by itself.' },
  );
}

type Output<F> = F extends Field<infer T> ? T : never;

export function toAdminConfig(raw: Output<ReturnType<typeof adminSection>>): AdminConfig {
  if (raw.allow === undefined) return { socket: raw.socket };
  const allow = raw.allow.map(({ uid, role, path_prefix: pathPrefix }) => ({
    uid,
    role,
    ...(pathPrefix === undefined ? {} : { pathPrefix }),
  }));
  return { socket: raw.socket, allow };
}

export function toAuditConfig(raw: Output<ReturnType<typeof auditSection>>, dataDir: string): AuditConfig {
  const file = raw.file ?? join(dataDir, 'audit', 'audit.jsonl');
  return { file, maxBytes: raw.max_bytes, maxFiles: raw.max_files, required: raw.required };
}

function parsePathPrefix(text: string): string {
  if (!/^\/(?:[A-Za-z0-9._-]+\/?)*$/.test(text) || text.includes('//')) {
    throw new SvidgateError('config_invalid', 'expected the start of a SPIFFE ID path, such as /team-a/');
  }
  return text;
}
