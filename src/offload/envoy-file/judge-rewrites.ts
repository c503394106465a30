import type { EnvoyNode } from './envoy-node.ts';
import type { ChainFilter } from './filter-pairs.ts';
import type { Findings } from './findings.ts';

/** What a filter before the rules can keep for the record. */
const KEPT = [
  'auto_host_rewrite',
  'host_rewrite_header',
  'host_rewrite_literal',
  'host_rewrite_path_regex',
  'path_rewrite_policy',
  'prefix_rewrite',
  'regex_rewrite',
];
const HEADERS = ['request_headers_to_add', 'request_headers_to_remove'];
/** As src/evidence reads it. */
const NAMESPACE = 'svidgate.request';

/** That records show requests as the rules saw them: the access log is written after routes have rewritten them. */
export function judgeRewrites(config: EnvoyNode, filters: readonly ChainFilter[], findings: Findings): void {
  const isKept = filters.some(({ types, config: own }) => {
    return types.some((type) => type.includes('.header_to_metadata.')) && own.mentions(NAMESPACE);
  });
  const visit = (node: EnvoyNode): void => {
    for (const [, each] of node.entries) visit(each);
    for (const each of node.elements) visit(each);
    for (const field of [...(isKept ? [] : KEPT), ...HEADERS]) {
      const given = node.at(field);
      if (!given.isSet || given.value === false) continue;
      findings.note(
        given,
        `what \`${field}\` rewrites is recorded as it is sent on, or not at all, where requests need no call`,
        'keep paths and hosts as docs/decision-log.md says',
      );
    }
  };
  visit(config);
}
