import { SvidgateError } from '../core/index.ts';
import { parseTrustDomain, type TrustDomain } from '../spiffe/index.ts';
import { attestationSection } from './attestation-config.ts';
import { authoritySection } from './authority-config.ts';
import { authzSection } from './authz-config.ts';
import type { ListenAddress } from './config.ts';
import { decisionLogSection } from './decision-log-config.ts';
import { choiceField, listField, optionalField, sectionField, textField } from './fields.ts';
import { checkGateTrustDomain } from './gate-checks.ts';
import { parseListenAddress } from './listen-address.ts';
import { adminSection, auditSection, federationSection, revocationSection } from './operation-config.ts';
import { checkReplays } from './policy-activation-config.ts';
import { checkPolicyBundles } from './policy-source-config.ts';
import {
  checkDistinctAddresses,
  checkIdentitySource,
  checkSdsReferences,
  checkSocketAliases,
} from './schema-checks.ts';
import { pathField, socketField } from './schema-fields.ts';
import { sdsSection } from './sds-config.ts';

/** The keys of svidgate.yaml. Relative paths start at the folder. */
export function configSchema(folder: string) {
  return sectionField(
    {
      trust_domain: textField<TrustDomain>(
        { description: 'The trust domain that svidgate signs for.', expected: 'a trust domain such as prod.acme.test' },
        parseTrustDomain,
      ),
      data_dir: pathField(folder, './data', "Folder for the authority's key and other state; created with mode 0700."),
      workload_socket: socketField(folder, './run/api.sock', 'Unix socket of SDS and the Workload API.'),
      workload_socket_aliases: optionalField(
        listField(textField({ description: 'One name.', expected: 'a file name such as socket' }, parseFileName), {
          description:
            'Further names of that socket in its folder, as links: `socket` for Istio, `spire-agent.sock` for the SPIRE chart.',
          expected: 'a list of file names such as `socket`',
        }),
      ),
      identity_source: choiceField(['authority', 'workload_api'], {
        description: 'Where SVIDs come from: our own authority, or the Workload API of an agent that is there already.',
        default: 'authority',
      }),
      upstream_workload_socket: optionalField(
        socketField(folder, undefined, "Unix socket of that agent's Workload API."),
      ),
      admin: adminSection(folder),
      authority: authoritySection(folder),
      entries: optionalField(
        pathField(
          folder,
          undefined,
          'File with registration entries, reloaded on change. Without it nobody gets an identity.',
        ),
      ),
      attestation: attestationSection(folder),
      federation: federationSection(folder),
      revocation: revocationSection(),
      audit: auditSection(folder),
      sds: sdsSection(folder),
      authz: optionalField(authzSection(folder)),
      decision_log: optionalField(decisionLogSection(folder)),
      telemetry: telemetrySection(folder),
    },
    { description: 'The configuration of svidgate.' },
    (config, report, wrong) => {
      checkDistinctAddresses(config, report);
      checkSocketAliases(config, report);
      checkIdentitySource(config, report);
      checkSdsReferences(config, report, wrong);
      checkGateTrustDomain(config, report);
      checkPolicyBundles(config, report);
      if (!wrong.has('decision_log')) checkReplays(config, report);
    },
  );
}

function telemetrySection(folder: string) {
  const listen = textField<ListenAddress | undefined>(
    {
      description: 'Where /metrics, /live and /ready are served: `HOST:PORT` or `unix:PATH`; `off` for nowhere.',
      expected: 'HOST:PORT, unix:PATH or off',
      default: '127.0.0.1:9988',
    },
    (text) => (text === 'off' ? undefined : parseListenAddress(text, { folder, loopbackOnly: false })),
  );
  return sectionField(
    {
      listen,
      log_level: choiceField(['debug', 'info', 'warn', 'error'], {
        description: 'The least severe log lines written.',
        default: 'info',
      }),
    },
    { description: 'Logs and metrics.' },
  );
}

function parseFileName(text: string): string {
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(text) || text === '.' || text === '..') {
    throw new SvidgateError(
      'config_invalid',
      'expected a file name of letters, digits, `.`, `-` or `_`, without a folder',
    );
  }
  return text;
}
