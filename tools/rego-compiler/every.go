package main

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// misplacedEvery finds conditions that stand behind an `every`, in the same body or in one that comes to it by a rule or
// function. OPA's partial evaluator unrolls an `every` over what is known, and gets what is evaluated afterwards wrong: it takes
// variables of rules for those of others. What stands at the end, and asks for one rule with each element, is right.
func misplacedEvery(compiler *ast.Compiler, entrypoints []ast.Ref) []problem {
	reached := reachedRules(compiler, entrypoints)
	search := &everySearch{compiler: compiler, carries: map[*ast.Rule]bool{}, isReplaced: replacesInput(reached)}
	search.findCarriers(reached)
	problems := []problem{}
	seen := map[*ast.Expr]bool{}
	check := func(body ast.Body) {
		for index, expr := range body {
			every, isEvery := expr.Terms.(*ast.Every)
			isWide := isEvery && asksRules(every.Body) > 1 && !search.isOfInput(every.Domain, body, 0)
			if seen[expr] || (!isWide && (index == len(body)-1 || !search.leadsToEvery(expr, body))) {
				continue
			}
			seen[expr] = true
			at := problem{Code: "misplaced_every", Message: "`every` is not the end of the condition, or asks for several rules"}
			if expr.Location != nil {
				at.File, at.Line, at.Column = expr.Location.File, expr.Location.Row, expr.Location.Col
			}
			problems = append(problems, at)
		}
	}
	for _, rule := range reached {
		for branch := rule; branch != nil; branch = branch.Else {
			check(branch.Body)
			ast.WalkBodies(branch, func(body ast.Body) bool {
				check(body)
				return false
			})
		}
	}
	return problems
}

// everySearch knows the rules with an `every` that may be unrolled, and those that come to one.
type everySearch struct {
	compiler *ast.Compiler
	carries  map[*ast.Rule]bool
	// isReplaced tells that `with` gives something else for the input, or for a rule, somewhere.
	isReplaced bool
}

func replacesInput(reached []*ast.Rule) bool {
	found := false
	for _, rule := range reached {
		ast.WalkExprs(rule, func(expr *ast.Expr) bool {
			found = found || len(expr.With) > 0
			return found
		})
	}
	return found
}

func (s *everySearch) findCarriers(reached []*ast.Rule) {
	for changed := true; changed; {
		changed = false
		for _, rule := range reached {
			for branch := rule; branch != nil && !s.carries[rule]; branch = branch.Else {
				if s.isCarrier(branch) {
					s.carries[rule], changed = true, true
				}
			}
		}
	}
}

func (s *everySearch) isCarrier(branch *ast.Rule) bool {
	found := false
	for _, expr := range branch.Body {
		found = found || s.leadsToEvery(expr, branch.Body)
	}
	ast.WalkBodies(branch.Head, func(inner ast.Body) bool {
		for _, each := range inner {
			found = found || s.leadsToEvery(each, inner)
		}
		return found
	})
	ast.WalkRefs(branch.Head, func(ref ast.Ref) bool {
		found = found || s.refersTo(ref)
		return found
	})
	return found
}

// leadsToEvery tells whether evaluating the expression, in its body, comes to an `every` that may be unrolled.
func (s *everySearch) leadsToEvery(expr *ast.Expr, body ast.Body) bool {
	found := false
	if every, is := expr.Terms.(*ast.Every); is {
		found = !s.isOfInput(every.Domain, body, 0)
	}
	ast.WalkBodies(expr, func(inner ast.Body) bool {
		for _, each := range inner {
			found = found || s.leadsToEvery(each, inner)
		}
		return found
	})
	ast.WalkRefs(expr, func(ref ast.Ref) bool {
		found = found || s.refersTo(ref)
		return found
	})
	return found
}

func (s *everySearch) refersTo(ref ast.Ref) bool {
	if !ref.HasPrefix(ast.DefaultRootRef) {
		return false
	}
	rules := append(s.compiler.GetRulesDynamic(ref), s.compiler.GetRulesForVirtualDocument(ref.GroundPrefix())...)
	for _, rule := range rules {
		if s.carries[rule] {
			return true
		}
	}
	return false
}

// asksRules counts the conditions that ask for rules or data.
func asksRules(body ast.Body) int {
	count := 0
	for _, expr := range body {
		asks := false
		ast.WalkRefs(expr, func(ref ast.Ref) bool {
			asks = asks || ref.HasPrefix(ast.DefaultRootRef)
			return asks
		})
		if asks {
			count++
		}
	}
	return count
}

const maxDomainDepth = 8

// isOfInput tells whether a term is a part of the input, whatever holds: what goes through it is never unrolled.
func (s *everySearch) isOfInput(term *ast.Term, body ast.Body, depth int) bool {
	if s.isReplaced || depth > maxDomainDepth {
		return false
	}
	switch value := term.Value.(type) {
	case ast.Var:
		for _, expr := range body {
			if !expr.IsEquality() && !expr.IsAssignment() || expr.Negated || len(expr.With) > 0 {
				continue
			}
			for side := range 2 {
				if expr.Operand(side).Equal(term) && s.isOfInput(expr.Operand(1-side), body, depth+1) {
					return true
				}
			}
		}
	case ast.Ref:
		if value.HasPrefix(ast.InputRootRef) {
			return true
		}
		rules := s.compiler.GetRulesDynamic(value)
		for _, rule := range rules {
			isPlain := rule.Head.RuleKind() == ast.SingleValue && len(rule.Head.Args) == 0 && rule.Else == nil && !rule.Default
			if !isPlain || rule.Head.Value == nil || !s.isOfInput(rule.Head.Value, rule.Body, depth+1) {
				return false
			}
		}
		return len(rules) > 0
	}
	return false
}
