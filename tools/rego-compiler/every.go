package main

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// misplacedEvery finds conditions that stand behind an `every`, in the same body or in one that comes to it by a rule or
// function. OPA's partial evaluator unrolls an `every` over what is known, and gets what is evaluated afterwards wrong: it takes
// variables of rules for those of others. What stands at the end, and asks for one rule with each element, is right.
func misplacedEvery(compiler *ast.Compiler, entrypoints []ast.Ref) []problem {
	reached := reachedRules(compiler, entrypoints)
	carries := everyCarriers(compiler, reached)
	problems := []problem{}
	seen := map[*ast.Expr]bool{}
	check := func(body ast.Body) {
		for index, expr := range body {
			every, isEvery := expr.Terms.(*ast.Every)
			isWide := isEvery && asksRules(every.Body) > 1
			if seen[expr] || (!isWide && (index == len(body)-1 || !leadsToEvery(compiler, expr, carries))) {
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

// everyCarriers are the rules with an `every`, and those that come to one.
func everyCarriers(compiler *ast.Compiler, reached []*ast.Rule) map[*ast.Rule]bool {
	carries := map[*ast.Rule]bool{}
	for changed := true; changed; {
		changed = false
		for _, rule := range reached {
			if carries[rule] {
				continue
			}
			for branch := rule; branch != nil; branch = branch.Else {
				if carriesEvery(compiler, branch, carries) {
					carries[rule], changed = true, true
				}
			}
		}
	}
	return carries
}

func carriesEvery(compiler *ast.Compiler, branch *ast.Rule, carries map[*ast.Rule]bool) bool {
	for _, expr := range branch.Body {
		if leadsToEvery(compiler, expr, carries) {
			return true
		}
	}
	found := false
	ast.WalkRefs(branch.Head, func(ref ast.Ref) bool {
		found = found || refersTo(compiler, ref, carries)
		return found
	})
	return found
}

// leadsToEvery tells whether evaluating the expression comes to an `every`.
func leadsToEvery(compiler *ast.Compiler, expr *ast.Expr, carries map[*ast.Rule]bool) bool {
	found := false
	ast.WalkExprs(expr, func(each *ast.Expr) bool {
		_, is := each.Terms.(*ast.Every)
		found = found || is
		return found
	})
	ast.WalkRefs(expr, func(ref ast.Ref) bool {
		found = found || refersTo(compiler, ref, carries)
		return found
	})
	return found
}

func refersTo(compiler *ast.Compiler, ref ast.Ref, carries map[*ast.Rule]bool) bool {
	if !ref.HasPrefix(ast.DefaultRootRef) {
		return false
	}
	for _, rule := range compiler.GetRulesDynamic(ref) {
		if carries[rule] {
			return true
		}
	}
	for _, rule := range compiler.GetRulesForVirtualDocument(ref.GroundPrefix()) {
		if carries[rule] {
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
