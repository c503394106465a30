interface MetricDescription {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds in seconds; histograms only. */
  readonly buckets?: readonly number[];
}

const LATENCY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5] as const;

/** Every metric, in one place. Labels hold closed sets and configured names, never what a caller sent. */
export const METRIC_CATALOGUE = {
  svidgate_attestations_total: { kind: 'counter', help: 'Attested connections by result.', labels: ['result'] },
  svidgate_attestor_failures_total: {
    kind: 'counter',
    help: 'Callers that a workload attestor failed to attest.',
    labels: ['attestor'],
  },
  svidgate_audit_failures_total: {
    kind: 'counter',
    help: 'Events that could not be written to the audit log.',
    labels: [],
  },
  svidgate_authority_expiry_seconds: {
    kind: 'gauge',
    help: 'When the CA (`x509`) or JWT key (`jwt`) that signs ends, in seconds since the epoch.',
    labels: ['kind'],
  },
  svidgate_authz_decision_seconds: {
    kind: 'histogram',
    help: 'Time from a check request to its reply.',
    labels: ['policy'],
    buckets: LATENCY_BUCKETS,
  },
  svidgate_authz_decisions_total: {
    kind: 'counter',
    help: 'Check replies by policy, outcome and reason.',
    labels: ['policy', 'outcome', 'reason'],
  },
  svidgate_connections: { kind: 'gauge', help: 'Open connections by listener.', labels: ['listener'] },
  svidgate_decision_log_bytes: { kind: 'gauge', help: 'What the decision log takes on disk.', labels: [] },
  svidgate_decision_log_failures_total: {
    kind: 'counter',
    help: 'Writes of the decision log that failed, by what was tried: `write`, `sync` or `cursor`; they are tried again.',
    labels: ['operation'],
  },
  svidgate_decision_log_lost_total: {
    kind: 'counter',
    help: 'Decisions that are not in the decision log, by reason.',
    labels: ['reason'],
  },
  svidgate_decision_log_records_total: {
    kind: 'counter',
    help: 'Records written to the decision log.',
    labels: [],
  },
  svidgate_decision_log_rule_failures_total: {
    kind: 'counter',
    help: 'Decision records whose input and result were erased, or that were kept, because `data.system.log` of their policy failed.',
    labels: ['policy'],
  },
  svidgate_decision_log_sink_delivered_total: {
    kind: 'counter',
    help: 'Records that a receiver of the decision log has taken.',
    labels: ['sink'],
  },
  svidgate_decision_log_sink_failures_total: {
    kind: 'counter',
    help: 'Deliveries of decision records that failed; they are tried again.',
    labels: ['sink'],
  },
  svidgate_decision_log_sink_lag_records: {
    kind: 'gauge',
    help: 'Records that a receiver of the decision log has not taken yet.',
    labels: ['sink'],
  },
  svidgate_decision_log_sink_lag_seconds: {
    kind: 'gauge',
    help: 'Age of the oldest record that a receiver of the decision log has not taken yet.',
    labels: ['sink'],
  },
  svidgate_decision_log_sink_lost_total: {
    kind: 'counter',
    help:
      'Records that a receiver of the decision log never gets: removed before (`overrun`), `too_large`, `refused` by it, or ' +
      '`damaged` on disk.',
    labels: ['sink', 'reason'],
  },
  svidgate_decision_log_unclean_ends_total: {
    kind: 'counter',
    help: 'Starts after an end that left the decision log open.',
    labels: [],
  },
  svidgate_entries: { kind: 'gauge', help: 'Registration entries in force.', labels: [] },
  svidgate_offload_answered: {
    kind: 'gauge',
    help: 'Requests that Envoys answered by themselves, by their own counters.',
    labels: ['policy'],
  },
  svidgate_offload_envoys_behind: {
    kind: 'gauge',
    help: 'Envoys that have not accepted the rules that they were sent last, and run older ones or none.',
    labels: ['policy'],
  },
  svidgate_offload_log_entries_total: {
    kind: 'counter',
    help:
      'Entries of access logs of Envoys: `recorded`, `ignored` (not about a request that Envoy answered by itself) or `refused` ' +
      '(of a policy or a rule that the caller may not have, or no entry).',
    labels: ['result'],
  },
  svidgate_offload_records_lost: {
    kind: 'gauge',
    help: 'Requests that Envoys answered by themselves and whose records are missing.',
    labels: ['policy'],
  },
  svidgate_offload_recompute_seconds: {
    kind: 'histogram',
    help: 'Time in which a change of revocations, entries or bundles is put into all sets of rules for Envoys.',
    labels: [],
    buckets: LATENCY_BUCKETS,
  },
  svidgate_offload_rules: {
    kind: 'gauge',
    help: 'Rules by which Envoys decide without a call, before what single callers may not have is left out.',
    labels: ['policy'],
  },
  svidgate_offload_sets: { kind: 'gauge', help: 'Sets of rules that streams of Envoys follow.', labels: ['policy'] },
  svidgate_offload_translation_failures_total: {
    kind: 'counter',
    help: 'Policies in force that could not be translated into rules for Envoy, so that each request is a call.',
    labels: ['policy'],
  },
  svidgate_offload_translation_seconds: {
    kind: 'histogram',
    help: 'Time in which a policy was translated into rules for Envoy.',
    labels: ['policy'],
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  },
  svidgate_offload_withheld_rules: {
    kind: 'gauge',
    help: 'Rules that are left to the call because of what is revoked, not registered, or of a trust domain without a bundle.',
    labels: ['policy'],
  },
  svidgate_policy_activations_total: {
    kind: 'counter',
    help: 'Policy activations by result.',
    labels: ['policy', 'result'],
  },
  svidgate_policy_cached_decisions_total: {
    kind: 'counter',
    help: 'Decisions that the live policy had made before from the same values, and that were not evaluated again.',
    labels: ['policy'],
  },
  svidgate_policy_exchanges_total: {
    kind: 'counter',
    help: 'What policies asked others by `http.send` and `net.lookup_ip_addr`, by result.',
    labels: ['policy', 'result'],
  },
  svidgate_policy_keep_failures_total: {
    kind: 'counter',
    help: 'Bundles in force that could not be kept on disk; they are tried again.',
    labels: ['policy'],
  },
  svidgate_policy_source_contact_seconds: {
    kind: 'gauge',
    help: 'When the source of a policy was last reached, in seconds since the epoch; 0 for never.',
    labels: ['policy'],
  },
  svidgate_policy_source_from_disk: {
    kind: 'gauge',
    help: '1 while a policy is the one kept on disk, since its source has not answered since the start.',
    labels: ['policy'],
  },
  svidgate_policy_source_polls_total: {
    kind: 'counter',
    help: 'Questions to the source of a policy by result: `changed`, `unchanged`, `refused` (no good bundle) or `failed`.',
    labels: ['policy', 'result'],
  },
  svidgate_policy_held: {
    kind: 'gauge',
    help: 'Whether a policy was rolled back, so that what its source offers is not in force.',
    labels: ['policy'],
  },
  svidgate_policy_history_failures_total: {
    kind: 'counter',
    help: 'Events of the history of policies, and files to go back to, that could not be written or read.',
    labels: ['policy'],
  },
  svidgate_policy_refusals_total: {
    kind: 'counter',
    help: 'Policies that were not activated, by what refused them.',
    labels: ['policy', 'gate'],
  },
  svidgate_policy_unenforced_until_seconds: {
    kind: 'gauge',
    help: 'When a policy with `unenforced` begins to decide, in seconds since the epoch; 0 once it does.',
    labels: ['policy'],
  },
  svidgate_reload_failures_total: {
    kind: 'counter',
    help: 'Changed files that were refused, so that the last good state stays.',
    labels: ['source'],
  },
  svidgate_offload_ack_seconds: {
    kind: 'histogram',
    help: 'Time from sending rules to their acknowledgement by Envoy.',
    labels: [],
    buckets: LATENCY_BUCKETS,
  },
  svidgate_offload_nacks_total: { kind: 'counter', help: 'Rules that an Envoy refused.', labels: [] },
  svidgate_offload_push_seconds: {
    kind: 'histogram',
    help: 'Time from a change of rules to their push to an Envoy.',
    labels: [],
    buckets: LATENCY_BUCKETS,
  },
  svidgate_offload_pushes_total: {
    kind: 'counter',
    help: 'Answers with rules that were sent, without renewals of leases.',
    labels: [],
  },
  svidgate_sds_ack_seconds: {
    kind: 'histogram',
    help: 'Time from a push to the ACK of the Envoy.',
    labels: [],
    buckets: LATENCY_BUCKETS,
  },
  svidgate_sds_nacks_total: { kind: 'counter', help: 'Secrets that an Envoy refused.', labels: [] },
  svidgate_sds_push_seconds: {
    kind: 'histogram',
    help: 'Time from a change of what a stream asks for to its having been written.',
    labels: [],
    buckets: LATENCY_BUCKETS,
  },
  svidgate_sds_pushes_total: { kind: 'counter', help: 'Discovery responses sent.', labels: [] },
  svidgate_sds_streams: { kind: 'gauge', help: 'Open SDS streams.', labels: [] },
  svidgate_sds_unapplied_rotations: {
    kind: 'gauge',
    help: 'Secrets that an Envoy has refused, or not accepted within `sds.ack_timeout`.',
    labels: [],
  },
  svidgate_sds_refusals_total: {
    kind: 'counter',
    help: 'Streams and requests refused because their caller was at a limit: `streams`, `names`, `requests` or `bytes`.',
    labels: ['limit'],
  },
  svidgate_secret_reload_failures_total: {
    kind: 'counter',
    help: 'Changed files of secrets that were refused, so that the last good content stays.',
    labels: [],
  },
  svidgate_shadow_decisions_total: {
    kind: 'counter',
    help: 'Requests shown to policies that do not decide, by how their answers differ from the live ones.',
    labels: ['policy', 'comparison'],
  },
  svidgate_shadow_write_failures_total: {
    kind: 'counter',
    help: 'Counts of shadow policies that could not be read or written; they are tried again.',
    labels: [],
  },
  svidgate_svids_issued_total: {
    kind: 'counter',
    help: 'SVIDs signed by type and result.',
    labels: ['type', 'result'],
  },
  svidgate_tls_handshakes_total: {
    kind: 'counter',
    help:
      'Handshakes of listeners with TLS: `accepted`, `refused`, `no_certificate`, `failed`, `timed_out`, `pushed_out` or ' +
      '`no_identity`.',
    labels: ['listener', 'result'],
  },
  svidgate_workload_api_answers_total: {
    kind: 'counter',
    help: 'Responses of the Workload API by method.',
    labels: ['method'],
  },
  svidgate_workload_api_streams: { kind: 'gauge', help: 'Open streams of the Workload API.', labels: [] },
} as const satisfies Record<string, MetricDescription>;

export type MetricName = keyof typeof METRIC_CATALOGUE;
type Labels<N extends MetricName> = Readonly<Record<(typeof METRIC_CATALOGUE)[N]['labels'][number], string>>;

/** Metrics as the domain sees them. Names, labels and help stand in METRIC_CATALOGUE. */
export interface Metrics {
  /** Adds to a counter. */
  count<N extends MetricName>(name: N, labels: Labels<N>, by?: number): void;
  /** Sets a gauge. */
  gauge<N extends MetricName>(name: N, labels: Labels<N>, value: number): void;
  /** Observes seconds in a histogram. */
  observe<N extends MetricName>(name: N, labels: Labels<N>, seconds: number): void;
}

export const noMetrics: Metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
