import type { Conjunction, GrantRule, PolicyProblem, Residual } from '../../policy/index.ts';
import type { LeftReason, LeftRule } from '../translated-policy.ts';
import type { Finding } from './conditions.ts';

export function leftWithout(reason: LeftReason, message: string): LeftRule {
  return { conditions: '', reason, message };
}

export function leftByRefusal(problems: string): LeftRule {
  return leftWithout('not_evaluated', `the policy cannot be evaluated without an input: ${problems}`);
}

export function leftByGuard(): LeftRule {
  return {
    ...leftWithout('gate_guard', 'authz.path_guard looks at the path before the policy does'),
    hint: 'ask for plain paths in the policy, as policies/rego/paths.rego does, and leave the guard off',
  };
}

export function leftByConflict({ code, message, file, line, column }: PolicyProblem): LeftRule {
  const place = placed({ file, line, column });
  if (code === 'misplaced_every') {
    const hint = 'put `every` last, here and where its rule is asked for, or say it with a helper and `not`';
    return { conditions: '', reason: 'no_matcher', message, ...place, hint };
  }
  return {
    conditions: '',
    reason: 'may_conflict',
    message: `${message}, which is a deny`,
    ...place,
    hint: 'give one value in all definitions, put them in order with `else`, or have one negate a condition of the other',
  };
}

/** Ways to allow with an object that has more than `allowed`. */
export function leftByEffects(
  plain: Residual,
  objects: Residual,
  deciding: readonly PolicyProblem[],
): readonly LeftRule[] {
  const count = objects.conjunctions.length - plain.conjunctions.length;
  if (count <= 0) return [];
  const [first] = deciding;
  const known = first === undefined ? {} : { rule: { name: first.message, file: first.file, line: first.line } };
  return Array.from({ length: count }, () => ({
    conditions: '',
    ...known,
    ...(first === undefined ? {} : placed(first)),
    reason: 'has_effects',
    message: 'the allow has headers, metadata, a token, or another member beside `allowed`',
    hint: 'give `{"allowed": true}` alone where nothing else is needed',
  }));
}

export function leftByFindings(
  conjunction: Conjunction,
  about: {
    readonly findings: readonly Finding[];
    readonly rule: GrantRule | undefined;
    readonly obstacle: 'too_large' | 'untold' | undefined;
  },
): LeftRule {
  const [first] = about.findings;
  const rule = about.rule === undefined ? {} : { rule: about.rule };
  const common = { ...rule, conditions: conjunction.text };
  if (first !== undefined) return { ...common, ...first.cause, ...placed(first.condition) };
  const place = placed(conjunction.conditions[0] ?? {});
  if (about.obstacle === 'too_large') {
    const message = 'peers and requests are mixed in more ways than rules can say';
    return { ...common, ...place, reason: 'too_large', message };
  }
  if (about.obstacle === 'untold') {
    const message = 'Envoy cannot be told that a certificate has a SPIFFE ID like this and no other';
    return {
      ...common,
      ...place,
      reason: 'not_visible',
      message,
      hint: 'name the SPIFFE IDs, for instance as rows of data',
    };
  }
  return {
    ...common,
    ...place,
    reason: 'cannot_hold',
    message: 'no request that Envoy can tell meets all of these conditions',
  };
}

interface Place {
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
}

function placed({ file, line, column }: Place): {
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
} {
  if (file === undefined || file === '' || line === undefined) return {};
  return { file, line, ...(column === undefined ? {} : { column }) };
}
