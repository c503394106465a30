package main

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

func hasElse(modules map[string]*ast.Module) bool {
	for _, module := range modules {
		if slices.ContainsFunc(module.Rules, func(rule *ast.Rule) bool { return rule.Else != nil }) {
			return true
		}
	}
	return false
}

// splitElse makes separate rules of else branches, each of which holds only where those before it do not: OPA's partial
// evaluator leaves rules with else as they are. What the module says stays the same.
func splitElse(module *ast.Module) {
	var rules []*ast.Rule
	for index, rule := range module.Rules {
		if rule.Else == nil {
			rules = append(rules, rule)
			continue
		}
		var before []*ast.Expr
		count := 0
		for branch := rule; branch != nil; branch = branch.Else {
			split := branch.Copy()
			split.Else = nil
			split.Body = bodyOf(append(copyExprs(before), copyExprs(branch.Body)...))
			rules = append(rules, split)
			if branch.Else == nil {
				break
			}
			name := fmt.Sprintf("__else_%d_%d__", index, count)
			count++
			rules = append(rules, holds(branch, name))
			before = append(before, unlessHolds(branch, name))
		}
	}
	module.Rules = rules
	falseFirst(module)
	for _, rule := range rules {
		ast.WalkRules(rule, func(each *ast.Rule) bool {
			each.Module = module
			return false
		})
	}
}

// falseFirst puts definitions whose value is false before the others: of a function that is called for its truth, the partial
// evaluator takes a false after a true one for a conflict, although only one of them may hold. Conflicts are found by mayConflict.
func falseFirst(module *ast.Module) {
	isOther := func(rule *ast.Rule) int {
		if value := rule.Head.Value; value != nil && ast.Boolean(false).Equal(value.Value) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(module.Rules, func(one, other *ast.Rule) int { return isOther(one) - isOther(other) })
}

// holds is a rule that is true where the branch has a value.
func holds(branch *ast.Rule, name string) *ast.Rule {
	body := copyExprs(branch.Body)
	if branch.Head.Value != nil && (!branch.Head.Value.IsGround() || isComputed(branch.Head.Value)) {
		body = append(body, ast.Equality.Expr(ast.VarTerm("__else_value__"), branch.Head.Value.Copy()))
	}
	helper := branch.Copy()
	helper.Else = nil
	helper.Annotations = nil
	helper.Body = bodyOf(body)
	helper.Head = &ast.Head{
		Name:      ast.Var(name),
		Reference: ast.Ref{ast.VarTerm(name)},
		Args:      branch.Head.Args.Copy(),
		Value:     ast.BooleanTerm(true),
		Location:  branch.Head.Location,
	}
	return helper
}

func unlessHolds(branch *ast.Rule, name string) *ast.Expr {
	expr := ast.NewExpr(ast.VarTerm(name))
	if len(branch.Head.Args) > 0 {
		call := []*ast.Term{ast.NewTerm(ast.Ref{ast.VarTerm(name)})}
		for _, arg := range branch.Head.Args {
			call = append(call, arg.Copy())
		}
		expr = ast.NewExpr(call)
	}
	expr.Negated = true
	expr.Location = branch.Location
	return expr
}

func bodyOf(exprs []*ast.Expr) ast.Body {
	return ast.NewBody(exprs...)
}

func copyExprs(exprs []*ast.Expr) []*ast.Expr {
	copies := make([]*ast.Expr, 0, len(exprs))
	for _, expr := range exprs {
		copies = append(copies, expr.Copy())
	}
	return copies
}
