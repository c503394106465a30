import { SvidgateError } from '../core/index.ts';
import type { CelExpressionInit } from '../proto/index.ts';
import type { HeaderTest } from './offload-rules.ts';

/** What a header's name is made of (RFC 9110 §5.6.2), in lower case. */
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

/** Envoy evaluates the condition for each request that comes as far: longer lists are left to the call. */
const MAX_TEXTS = 200;

/**
 * The tests as a CEL condition: `request.headers["x-role"] == "admin" && …`. A header that is not there is an error in CEL, and
 * the policy does not match then. Undefined for what cannot be said so.
 */
export function encodeHeaderTests(tests: readonly HeaderTest[]): CelExpressionInit | undefined {
  if (tests.length === 0) throw broken('an empty list of headers');
  if (tests.some(({ name, oneOf }) => !NAME.test(name) || oneOf.length > MAX_TEXTS)) return undefined;
  if (tests.some(({ oneOf }) => oneOf.some((text) => !text.isWellFormed() || text.includes('\0')))) return undefined;
  const nodes = new Nodes();
  return nodes.folded(
    '_&&_',
    tests.map((test) => oneOfTexts(test, nodes)),
  );
}

function oneOfTexts({ name, oneOf }: HeaderTest, nodes: Nodes): CelExpressionInit {
  if (oneOf.length === 0) throw broken('an empty list of texts');
  const compared = oneOf.map((text) => nodes.call('_==_', [nodes.header(name), nodes.text(text)]));
  return nodes.folded('_||_', compared);
}

/** Each node of the tree has a number of its own. */
class Nodes {
  #last = 0;

  header(name: string): CelExpressionInit {
    const request = this.#node({ identExpr: { name: 'request' } });
    const headers = this.#node({ selectExpr: { operand: request, field: 'headers' } });
    return this.call('_[_]', [headers, this.text(name)]);
  }

  text(stringValue: string): CelExpressionInit {
    return this.#node({ constExpr: { stringValue } });
  }

  call(name: string, args: CelExpressionInit[]): CelExpressionInit {
    return this.#node({ callExpr: { function: name, args } });
  }

  /** As a tree of small depth, since Envoy bounds that. */
  folded(operator: '_&&_' | '_||_', parts: readonly CelExpressionInit[]): CelExpressionInit {
    const [only] = parts;
    if (only !== undefined && parts.length === 1) return only;
    const half = Math.ceil(parts.length / 2);
    const sides = [parts.slice(0, half), parts.slice(half)].map((side) => this.folded(operator, side));
    return this.call(operator, sides);
  }

  #node(node: CelExpressionInit): CelExpressionInit {
    return { id: (this.#last += 1), ...node };
  }
}

function broken(what: string): SvidgateError {
  return new SvidgateError('internal', `rules for Envoy: ${what}`);
}
