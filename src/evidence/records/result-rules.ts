import { ERASE, KEEP, type MaskRule } from './mask-rules.ts';

/** Of the value of the entrypoint: whether it allows, and with which status. The rest may hold what the request held. */
export const RESULT_RULES: MaskRule = {
  kind: 'members',
  members: {
    allowed: KEEP,
    http_status: KEEP,
    headers: ERASE,
    body: ERASE,
    dynamic_metadata: ERASE,
    response_headers_to_add: ERASE,
    request_headers_to_remove: ERASE,
    query_parameters_to_set: ERASE,
    query_parameters_to_remove: ERASE,
  },
  freeNames: 'all',
};

/** `true` and `false` say no more than the outcome; anything else goes by the rules. */
export function isPlainResult(value: unknown): boolean {
  return typeof value === 'boolean' || value === null;
}
