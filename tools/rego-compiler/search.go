package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// search looks for the fewest conditions that, taken as true, turn a deny into an allow. Whatever it names was tried.
type search struct {
	trials *trials
	values *valueReader
	// notTried counts rules of the entrypoint that failed early.
	notTried int
}

// nearest gives the rules of the entrypoint that would allow, those with the fewest failing conditions first.
func (s *search) nearest() []nearRule {
	type candidate struct {
		clause *clause
		turned changes
	}
	var found []candidate
	entry := s.trials.entry()
	tried := s.few(entry)
	for i, one := range tried {
		if s.trials.isHalfSpent() {
			tried = tried[:i]
			break
		}
		if turned := s.relaxAlone(one, nil, 0); turned != nil {
			found = append(found, candidate{one, turned})
		}
	}
	s.notTried = len(entry) - len(tried)
	fewestFirst := func(one, other candidate) int { return cmp.Compare(len(one.turned), len(other.turned)) }
	slices.SortStableFunc(found, fewestFirst)
	named := map[string]bool{}
	var kept []candidate
	for _, one := range found {
		if len(kept) == maxNearest {
			break
		}
		// They were found without the other rules.
		if one.turned = s.verified(one.turned); one.turned == nil || named[one.turned.key()] {
			continue
		}
		named[one.turned.key()] = true
		kept = append(kept, one)
	}
	slices.SortStableFunc(kept, fewestFirst)
	var rules []nearRule
	for _, one := range kept {
		rules = append(rules, nearRule{ruleName: one.clause.name(), Conditions: s.describe(one.clause, one.turned)})
	}
	return rules
}

// few are those that may be tried. Rules that failed at their last conditions come first.
func (s *search) few(clauses []*clause) []*clause {
	if len(clauses) <= maxSiblings {
		return clauses
	}
	return s.trials.nearestFirst(clauses)[:maxSiblings]
}

// relaxAlone is relax without the rules beside the clause.
func (s *search) relaxAlone(of *clause, made changes, depth int) changes {
	defer s.trials.focus(of)()
	return s.relax(of, made, depth)
}

// verified gives the changes when they turn the decision of the whole policy, and no fewer of them do; or fewer that do.
func (s *search) verified(turned changes) changes {
	if !s.trials.flips(turned) {
		return nil
	}
	return s.fewest(turned, nil)
}

// relax gives changes of a clause, or of the rules that it stands on, that turn the decision together with those made
// already; without any of them they do not. Nil when it found none.
func (s *search) relax(of *clause, made changes, depth int) changes {
	if depth > maxDepth || s.trials.isExhausted() {
		return nil
	}
	if turned := s.relaxBody(of, made); turned != nil {
		return s.refine(of, made, turned, depth)
	}
	// The clause holds and gives another value, or a condition gives values to others: what it refers to is looked at.
	for _, expr := range of.rule.Body {
		if turned := s.relaxWithin(of, expr, made, depth); turned != nil {
			return turned
		}
	}
	return s.relaxRules(s.trials.clausesIn(of, headOf(of)), made, depth)
}

// relaxBody takes the fewest conditions of the clause itself: one, two, or as few as one pass leaves.
func (s *search) relaxBody(of *clause, made changes) changes {
	if of.isTrivial() {
		return nil
	}
	units := s.units(of)
	all := changes{}
	for i := range of.rule.Body {
		all = append(all, change{of, i})
	}
	if !s.trials.flips(made.with(all...)) {
		// Where the value of the rule needs some of its conditions, the others alone may do.
		if all = s.spare(of, units, made); all == nil {
			return nil
		}
	}
	// The last conditions first: those before them held, for some row of a table.
	slices.Reverse(units)
	slices.SortStableFunc(units, func(one, other changes) int { return cmp.Compare(len(one), len(other)) })
	for _, unit := range units {
		if s.trials.flips(made.with(unit...)) {
			return s.fewest(unit, made)
		}
	}
	if len(units) <= 10 {
		for i, one := range units {
			for _, other := range units[i+1:] {
				if pair := union(one, other); s.trials.flips(made.with(pair...)) {
					return s.fewest(pair, made)
				}
			}
		}
	}
	return s.fewest(all, made)
}

// units are the conditions with what cannot stand without them: those that use the variables they declare.
func (s *search) units(of *clause) []changes {
	var units []changes
	for i, expr := range of.rule.Body {
		unit := changes{{of, i}}
		declared := declaredIn(expr)
		for j := i + 1; j < len(of.rule.Body) && len(declared) > 0; j++ {
			if uses(of.rule.Body[j], declared) {
				unit = append(unit, change{of, j})
				for name := range declaredIn(of.rule.Body[j]) {
					declared[name] = true
				}
			}
		}
		units = append(units, unit)
	}
	return units
}

// spare gives as many conditions as can be left out together, if that turns the decision.
func (s *search) spare(of *clause, units []changes, made changes) changes {
	var out changes
	for _, unit := range slices.Backward(units) {
		if wider := union(out, unit); s.compiles(made.with(wider...)) {
			out = wider
		}
	}
	if len(out) > 0 && s.trials.flips(made.with(out...)) {
		return out
	}
	return nil
}

func (s *search) compiles(all changes) bool {
	if s.trials.isExhausted() {
		return false
	}
	compiler := newCompiler(s.trials.caps, s.trials.data, false)
	compiler.Compile(s.trials.changed(all))
	return !compiler.Failed()
}

// fewest puts back each change without which the decision is still turned, the first conditions first. Nil when the trials
// ended before that was sure.
func (s *search) fewest(turned, made changes) changes {
	kept := slices.Clone(turned)
	for i := 0; i < len(kept) && len(kept) > 1; {
		fewer := slices.Delete(slices.Clone(kept), i, i+1)
		if s.trials.flips(made.with(fewer...)) {
			kept = fewer
		} else {
			i++
		}
	}
	if s.trials.isExhausted() {
		return nil
	}
	return kept
}

// refine replaces each condition that asks for another rule by the conditions of that rule, where those turn the decision.
func (s *search) refine(of *clause, made, turned changes, depth int) changes {
	slices.SortFunc(turned, func(one, other change) int { return cmp.Compare(one.expr, other.expr) })
	parts := make([]changes, len(turned))
	for i := range turned {
		parts[i] = turned[i : i+1]
	}
	for i, one := range turned {
		others := slices.Concat(slices.Concat(parts[:i]...), slices.Concat(parts[i+1:]...))
		if deeper := s.relaxWithin(of, of.rule.Body[one.expr], made.with(others...), depth); deeper != nil {
			parts[i] = deeper
		}
	}
	// What stands below one may do for another, too.
	return s.fewest(unique(slices.Concat(parts...)), made)
}

// relaxWithin looks at the rules that one condition asks for.
func (s *search) relaxWithin(of *clause, expr *ast.Expr, made changes, depth int) changes {
	rules := s.trials.clausesIn(of, expr)
	if len(rules) == 0 {
		return nil
	}
	if !expr.Negated {
		if turned := s.relaxRules(rules, made, depth); turned != nil {
			return turned
		}
	}
	return s.falsify(rules, made)
}

// relaxRules gives the fewest changes of one of the rules.
func (s *search) relaxRules(rules []*clause, made changes, depth int) changes {
	var best changes
	for _, rule := range s.few(rules) {
		if turned := s.relaxAlone(rule, made, depth+1); turned != nil && (best == nil || len(turned) < len(best)) {
			best = turned
		}
	}
	return best
}

// falsify gives the rules that must not hold.
func (s *search) falsify(rules []*clause, made changes) changes {
	var all changes
	for _, rule := range rules {
		all = append(all, change{rule, wholeClause})
	}
	if !s.trials.flips(made.with(all...)) {
		return nil
	}
	return s.fewest(all, made)
}

func unique(all changes) changes {
	var kept changes
	for _, one := range all {
		if !slices.Contains(kept, one) {
			kept = append(kept, one)
		}
	}
	return kept
}

func union(one, other changes) changes {
	return unique(slices.Concat(one, other))
}

// declaredIn are the variables that a condition may give a value to.
func declaredIn(expr *ast.Expr) map[ast.Var]bool {
	declared := map[ast.Var]bool{}
	add := func(term *ast.Term) {
		ast.WalkVars(term, func(name ast.Var) bool {
			declared[name] = true
			return false
		})
	}
	switch terms := expr.Terms.(type) {
	case *ast.SomeDecl:
		for _, symbol := range terms.Symbols {
			// `some x in xs` is a call: its last operand is looked into, not declared.
			if call, isCall := symbol.Value.(ast.Call); isCall {
				for _, operand := range call[1 : len(call)-1] {
					add(operand)
				}
			} else {
				add(symbol)
			}
		}
	case []*ast.Term:
		if expr.IsAssignment() || expr.IsEquality() {
			for _, operand := range expr.Operands() {
				if _, isVar := operand.Value.(ast.Var); isVar || expr.IsAssignment() && operand == expr.Operand(0) {
					add(operand)
				}
			}
		}
	}
	return declared
}

func uses(expr *ast.Expr, names map[ast.Var]bool) bool {
	found := false
	ast.WalkVars(expr, func(name ast.Var) bool {
		found = found || names[name]
		return false
	})
	return found
}

// describe tells each condition with the values it met, as they are where the changed policy allows.
func (s *search) describe(of *clause, turned changes) []condition {
	reached := &tracer{}
	unfocus := s.trials.focus(of)
	s.trials.evaluate(turned, reached)
	unfocus()
	var conditions []condition
	for _, one := range turned {
		if one.expr == wholeClause {
			held := &tracer{}
			s.trials.evaluate(nil, held)
			found := condition{Taken: "false", Text: textOf(one.clause.rule.Body), ruleName: one.clause.name()}
			found.Values = s.values.in(one.clause, one.clause.rule.Body, held.of(one.clause))
			conditions = append(conditions, found)
			continue
		}
		expr := one.clause.rule.Body[one.expr]
		found := condition{Taken: "true", Text: strings.TrimSpace(string(expr.Location.Text)), ruleName: one.clause.name()}
		found.Line, found.Column = expr.Location.Row, expr.Location.Col
		found.Values = s.values.in(one.clause, expr, reached.of(one.clause))
		conditions = append(conditions, found)
	}
	return conditions
}

func textOf(body ast.Body) string {
	var texts []string
	for _, expr := range body {
		texts = append(texts, strings.TrimSpace(string(expr.Location.Text)))
	}
	return strings.Join(texts, "; ")
}
