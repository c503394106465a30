import { isSpiffeId, pathOf } from '../../spiffe/index.ts';
import type { EnvoyNode } from './envoy-node.ts';
import type { FilterPair } from './filter-pairs.ts';
import type { FoundManager } from './find-managers.ts';
import type { Findings } from './findings.ts';
import { clusterOf } from './judge-rbac.ts';

const TLS = 'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext';
const QUIC = 'envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport';
/** Fields of a validation context beside the one by SDS that make it no stricter. */
const STRICTER = [
  'match_typed_subject_alt_names',
  'max_verify_depth',
  'verify_certificate_hash',
  'verify_certificate_spki',
];
const LONG_SECONDS = 3600;

/** Names of svidgate's own trust bundles by SDS, as `sds` of its configuration has them. */
export interface BundleNames {
  readonly defaultBundleName: string;
  readonly defaultAllBundlesName: string;
}

interface PeersOf {
  readonly pairs: readonly FilterPair[];
  readonly bundles: BundleNames;
}

/** That peers are those whom the gate would verify: the rules of an offload trust Envoy's own check. */
export function judgeConnections({ manager, chain }: FoundManager, peersOf: PeersOf, findings: Findings): void {
  const socket = chain?.at('transport_socket', 'typed_config');
  const { type, node } = socket?.message ?? { type: '', node: manager };
  const tls = type === QUIC ? node.at('downstream_tls_context') : node;
  if (type !== TLS && type !== QUIC) {
    const remedy = 'give its filter chain a DownstreamTlsContext with `require_client_certificate: true`';
    findings.refuse(chain ?? manager, 'offload on connections whose peers Envoy does not verify', remedy);
  } else {
    judgeTls(tls, peersOf, findings);
  }
  judgeLife(manager, findings);
}

function judgeTls(tls: EnvoyNode, peersOf: PeersOf, findings: Findings): void {
  const flag = (field: string, message: string): void => {
    if (tls.at(field).value !== true) {
      findings.refuse(tls.at(field).isSet ? tls.at(field) : tls, message, `write \`${field}: true\``);
    }
  };
  flag('require_client_certificate', 'offload on connections that need no client certificate');
  const resumed = 'a resumed session is not checked against the trust bundles of today';
  flag('disable_stateless_session_resumption', resumed);
  flag('disable_stateful_session_resumption', resumed);
  const common = tls.at('common_tls_context');
  const combined = common.at('combined_validation_context');
  if (common.at('validation_context').isSet) {
    const remedy = 'take it by `validation_context_sds_secret_config` from svidgate';
    findings.refuse(common.at('validation_context'), 'the validation context is written in the file', remedy);
    return;
  }
  if (combined.isSet) judgeValidation(combined.at('default_validation_context'), findings);
  const secret = (combined.isSet ? combined : common).at('validation_context_sds_secret_config');
  judgeSource(secret, { common, ...peersOf }, findings);
}

/** What Envoy adds to the context by SDS; fields of both are merged. */
function judgeValidation(context: EnvoyNode, findings: Findings): void {
  for (const field of context.fields) {
    if (STRICTER.includes(field)) continue;
    const given = context.at(field);
    if (given.value === false || (field === 'trust_chain_verification' && given.text === 'VERIFY_TRUST_CHAIN'))
      continue;
    findings.refuse(given, `\`${field}\` has Envoy take peers that the gate would not`, `remove \`${field}\``);
  }
}

function judgeSource(
  secret: EnvoyNode,
  { common, pairs, bundles }: PeersOf & { readonly common: EnvoyNode },
  findings: Findings,
): void {
  const cluster = clusterOf(secret.at('sds_config'));
  if (cluster === undefined) {
    const remedy = 'take it by `validation_context_sds_secret_config` from svidgate';
    findings.refuse(secret.isSet ? secret : common, 'the validation context does not come from svidgate', remedy);
    return;
  }
  const name = secret.at('name');
  if (!isBundle(name.text ?? '', bundles)) {
    findings.refuse(
      name.isSet ? name : secret,
      `\`${name.text ?? ''}\` is no trust bundle of svidgate: Envoy would take peers that the gate would not`,
      `write ${bundles.defaultBundleName}, ${bundles.defaultAllBundlesName} or spiffe://TRUST_DOMAIN; name svidgate's configuration by --config where it has other names`,
    );
  }
  for (const { rbac } of pairs) {
    const source = clusterOf(rbac.node.at('config_discovery', 'config_source'));
    if (source === undefined || source === cluster) continue;
    findings.refuse(
      secret,
      `the validation context comes from \`${cluster}\`, and the rules of \`${rbac.name}\` from \`${source}\``,
      'take both from svidgate: the rules hold for peers that its bundles verify',
    );
  }
}

/** A secret by any other name may be a file with a CA of its own. */
function isBundle(secret: string, { defaultBundleName, defaultAllBundlesName }: BundleNames): boolean {
  const name = secret.replace(/\?peers=[\w.-]+$/, '');
  if (name === defaultBundleName || name === defaultAllBundlesName) return true;
  return isSpiffeId(name) && pathOf(name) === '';
}

/** A connection may live on when the certificate has ended that it was begun with. */
function judgeLife(manager: EnvoyNode, findings: Findings): void {
  const options = manager.at('common_http_protocol_options');
  const given = options.at('max_connection_duration');
  if (!given.isSet) {
    findings.refuse(
      options.isSet ? options : manager,
      'connections have no end: where the certificate of a peer has ended, the gate denies and Envoy does not look',
      'set `common_http_protocol_options.max_connection_duration`, such as 900s',
    );
    return;
  }
  const [, seconds = 'Infinity'] = /^(\d+(?:\.\d+)?)s$/.exec(given.text ?? '') ?? [];
  if (Number(seconds) === 0 || Number(seconds) > LONG_SECONDS) {
    const message = 'connections may outlive the certificates of their peers by more than an hour';
    findings.refuse(given, message, 'set `max_connection_duration` to 900s or so');
  }
}
