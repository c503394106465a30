import {
  durationField,
  flagField,
  integerField,
  optionalField,
  sectionField,
  type Field,
  type ReportMistake,
} from './fields.ts';
import { nameField, pathField, requiredPathField, socketField } from './schema-fields.ts';

export interface AttestationConfig {
  readonly unix: UnixAttestationConfig;
  /** The others are off when absent. */
  readonly systemd?: { readonly busSocket: string };
  readonly docker?: { readonly socket: string };
  readonly kubernetes?: KubernetesAttestationConfig;
}

export interface UnixAttestationConfig {
  /** Whether to give `unix:path` and `unix:sha256`. */
  readonly discoverWorkloadPath: boolean;
  /** Whether a caller of another pid namespace (pid 0) gets its uid and gid selectors rather than a refusal. */
  readonly allowWithoutPid: boolean;
  readonly executableDigest: ExecutableDigest;
}

/** Which executables are hashed for `unix:sha256`; a larger one gives no such selector. */
export type ExecutableDigest =
  { readonly kind: 'off' } | { readonly kind: 'unlimited' } | { readonly kind: 'limited'; readonly maxBytes: number };

export interface KubernetesAttestationConfig {
  /** Host name or IP address of the node's kubelet. */
  readonly kubeletAddress: string;
  /** The port with TLS. */
  readonly kubeletPort: number;
  /** The port without TLS or login; used instead of the other when given. */
  readonly readOnlyPort?: number;
  readonly caFile?: string;
  readonly skipKubeletVerification: boolean;
  /** Read again for each request. */
  readonly tokenFile: string;
  readonly clientCertificateFile?: string;
  readonly clientKeyFile?: string;
  /** The name in the kubelet's certificate. */
  readonly nodeName?: string;
  /** Where labels of namespaces come from; without it there is no `k8s:ns-label`. */
  readonly namespaceLabels?: {
    readonly apiServerAddress: string;
    readonly apiServerPort: number;
    readonly apiServerCaFile: string;
    readonly apiServerTokenFile: string;
  };
  readonly pollAttempts: number;
  readonly pollIntervalMs: number;
}

const MAX_PORT = 65_535;
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

export function attestationSection(folder: string) {
  return sectionField(
    {
      unix: unixSection(),
      systemd: optionalField(
        sectionField(
          { bus: socketField(folder, '/run/dbus/system_bus_socket', 'Socket of the system bus.') },
          { description: 'Selectors from systemd. Off when left out.' },
        ),
      ),
      docker: optionalField(
        sectionField(
          { socket: socketField(folder, '/var/run/docker.sock', "Socket of the engine's API; podman's works, too.") },
          { description: 'Selectors from Docker. Off when left out.' },
        ),
      ),
      kubernetes: optionalField(kubernetesSection(folder)),
    },
    { description: 'How callers are told apart.' },
  );
}

function unixSection() {
  return sectionField(
    {
      discover_workload_path: flagField({
        description: 'Whether to give `unix:path` and `unix:sha256`.',
        default: true,
      }),
      allow_without_pid: flagField({
        description:
          'Whether a caller of another PID namespace (pid 0) is attested by uid and gid alone ' +
          'rather than refused.',
        default: false,
      }),
      workload_size_limit: integerField({
        description: 'The largest executable hashed for `unix:sha256`: 0 for any size, -1 for no `unix:sha256` at all.',
        min: -1,
        max: Number.MAX_SAFE_INTEGER,
        default: 0,
        unit: 'bytes',
      }),
    },
    { description: 'Attestation by the kernel.' },
  );
}

function kubernetesSection(folder: string) {
  return sectionField(
    {
      kubelet_address: nameField("Address of the node's kubelet.", '127.0.0.1'),
      kubelet_port: integerField({
        description: "The kubelet's port with TLS.",
        min: 1,
        max: MAX_PORT,
        default: 10_250,
      }),
      read_only_port: integerField({
        description: "The kubelet's port without TLS and login, used instead; 0 for none.",
        min: 0,
        max: MAX_PORT,
        default: 0,
      }),
      ca_file: pathField(
        folder,
        `${SERVICE_ACCOUNT}/ca.crt`,
        "PEM of the CAs that the kubelet's certificate is checked with.",
      ),
      skip_kubelet_verification: flagField({
        description: "Whether the kubelet's certificate is taken unchecked; only where it is reached on loopback.",
        default: false,
      }),
      token_file: pathField(
        folder,
        `${SERVICE_ACCOUNT}/token`,
        'File with the token for the kubelet, read for each request.',
      ),
      client_certificate: optionalField(
        requiredPathField(folder, 'PEM of a client certificate, instead of the token.'),
      ),
      client_key: optionalField(requiredPathField(folder, 'PEM of its key.')),
      node_name: optionalField(
        nameField(
          "The name in the kubelet's certificate; its address when left out. `k8s:node-name` comes from the pod.",
        ),
      ),
      namespace_labels: optionalField(namespaceLabelsSection(folder)),
      poll_attempts: integerField({ description: 'How often a pod is looked for.', min: 1, max: 1000, default: 60 }),
      poll_interval: durationField({
        description: 'How long to wait between.',
        min: '10ms',
        max: '1m',
        default: '500ms',
      }),
    },
    { description: "Selectors from the node's kubelet. Off when left out." },
    checkKubelet,
  );
}

function checkKubelet(
  value: {
    readonly client_certificate?: string | undefined;
    readonly client_key?: string | undefined;
    readonly skip_kubelet_verification?: boolean;
    readonly kubelet_address?: string;
  },
  report: ReportMistake,
): void {
  if ((value.client_certificate === undefined) !== (value.client_key === undefined)) {
    report([], '`kubernetes` has only one of `client_certificate` and `client_key`', 'give both or none');
  }
  const isLoopback = /^(?:127(?:\.\d+){3}|::1|localhost)$/.test(value.kubelet_address ?? '');
  if (value.skip_kubelet_verification === true && !isLoopback) {
    const message = '`skip_kubelet_verification` is set for a kubelet that is not on loopback';
    report(
      ['skip_kubelet_verification'],
      message,
      'give `ca_file` instead: whoever answers there says who a caller is',
    );
  }
}

function namespaceLabelsSection(folder: string) {
  return sectionField(
    {
      api_server_address: nameField('Address of the API server.', 'kubernetes.default.svc'),
      api_server_port: integerField({ description: 'Its port.', min: 1, max: MAX_PORT, default: 443 }),
      api_server_ca_file: pathField(
        folder,
        `${SERVICE_ACCOUNT}/ca.crt`,
        'PEM of the CAs that its certificate is checked with.',
      ),
      api_server_token_file: pathField(
        folder,
        `${SERVICE_ACCOUNT}/token`,
        'File with the token for it, read for each request.',
      ),
    },
    { description: 'Labels of namespaces for `k8s:ns-label`, from the API server. Off when left out.' },
  );
}

type Output<F> = F extends Field<infer T> ? T : never;
type RawAttestation = Output<ReturnType<typeof attestationSection>>;

export function toAttestationConfig({ unix, systemd, docker, kubernetes }: RawAttestation): AttestationConfig {
  return {
    unix: {
      discoverWorkloadPath: unix.discover_workload_path,
      allowWithoutPid: unix.allow_without_pid,
      executableDigest: toExecutableDigest(unix.workload_size_limit),
    },
    ...(systemd === undefined ? {} : { systemd: { busSocket: systemd.bus } }),
    ...(docker === undefined ? {} : { docker }),
    ...(kubernetes === undefined ? {} : { kubernetes: toKubernetes(kubernetes) }),
  };
}

function toKubernetes(raw: NonNullable<RawAttestation['kubernetes']>): KubernetesAttestationConfig {
  const { client_certificate: clientCertificateFile, client_key: clientKeyFile, node_name: nodeName } = raw;
  const { namespace_labels: labels } = raw;
  return {
    kubeletAddress: raw.kubelet_address,
    kubeletPort: raw.kubelet_port,
    ...(raw.read_only_port === 0 ? {} : { readOnlyPort: raw.read_only_port }),
    caFile: raw.ca_file,
    skipKubeletVerification: raw.skip_kubelet_verification,
    tokenFile: raw.token_file,
    ...(clientCertificateFile === undefined ? {} : { clientCertificateFile }),
    ...(clientKeyFile === undefined ? {} : { clientKeyFile }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(labels === undefined
      ? {}
      : {
          namespaceLabels: {
            apiServerAddress: labels.api_server_address,
            apiServerPort: labels.api_server_port,
            apiServerCaFile: labels.api_server_ca_file,
            apiServerTokenFile: labels.api_server_token_file,
          },
        }),
    pollAttempts: raw.poll_attempts,
    pollIntervalMs: raw.poll_interval,
  };
}

function toExecutableDigest(sizeLimit: number): ExecutableDigest {
  if (sizeLimit < 0) return { kind: 'off' };
  return sizeLimit === 0 ? { kind: 'unlimited' } : { kind: 'limited', maxBytes: sizeLimit };
}
