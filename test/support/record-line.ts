import type { DecisionRecord } from '../../src/evidence/records/decision-record.ts';

export type LineParts = Partial<Omit<DecisionRecord, 'svidgate'>> & {
  readonly svidgate?: Partial<DecisionRecord['svidgate']>;
  /** Makes the line longer by this many bytes. */
  readonly padding?: number;
};

/** A line of the decision log, for what does not care about decisions. Loads nothing of the policy engine. */
export function recordLine(id: string | number, parts: LineParts = {}): string {
  const { svidgate, padding = 0, ...own } = parts;
  const record: DecisionRecord = {
    labels: { id: 'test' },
    decision_id: String(id),
    path: 'envoy/authz/allow',
    input: { attributes: { request: { http: { method: 'GET', path: `/orders/${'x'.repeat(padding)}` } } } },
    result: true,
    metrics: { timer_server_handler_ns: 1000 },
    timestamp: '2026-11-22T10:00:00.000000001Z',
    req_id: 1,
    ...own,
    svidgate: {
      policy: 'default',
      outcome: 'allow',
      reason: '',
      http_status: 0,
      principal: 'spiffe://example.test/web',
      caller: 'attested',
      listener: 'gate',
      method: 'GET',
      route: 'orders.test/orders/*',
      cached: false,
      replayable: true,
      ...svidgate,
    },
  };
  return JSON.stringify(record);
}
