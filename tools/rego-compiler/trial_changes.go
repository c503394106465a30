package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// clause is one rule of a module as it is written, or one `else` of it.
type clause struct {
	file   string
	module *ast.Module
	// index is the place of the rule in its module, elses how many `else` lie before.
	index, elses int
	rule         *ast.Rule
	ref          ast.Ref
}

// change is a condition taken as true, or with wholeClause a clause taken as one that does not hold.
type change struct {
	clause *clause
	expr   int
}

const wholeClause = -1

type changes []change

// key is the same for the same changes in another order.
func (all changes) key() string {
	var keys []string
	for _, one := range all {
		keys = append(keys, fmt.Sprintf("%s#%d", one.clause.key(), one.expr))
	}
	slices.Sort(keys)
	return strings.Join(keys, "|")
}

func (all changes) with(more ...change) changes {
	return append(slices.Clone(all), more...)
}

func (c *clause) key() string {
	at := c.rule.Head.Location
	if c.rule.Location != nil {
		at = c.rule.Location
	}
	return fmt.Sprintf("%s:%d:%d", at.File, at.Row, at.Col)
}

func (c *clause) name() ruleName {
	at := c.rule.Location
	named := ruleName{Rule: strings.TrimPrefix(c.ref.String(), "data."), File: c.file, Line: at.Row, Column: at.Col}
	for _, annotations := range c.rule.Annotations {
		if named.Title == "" {
			named.Title = annotations.Title
		}
	}
	return named
}

// isTrivial tells that there is no condition.
func (c *clause) isTrivial() bool {
	return c.rule.Body.Equal(ast.NewBody(ast.NewExpr(ast.BooleanTerm(true))))
}

// changed gives the modules with the changes; the compiler copies what it is given.
func (t *trials) changed(all changes) map[string]*ast.Module {
	byRule := map[*ast.Rule]changes{}
	for _, one := range all {
		rule := one.clause.module.Rules[one.clause.index]
		byRule[rule] = append(byRule[rule], one)
	}
	modules := make(map[string]*ast.Module, len(t.modules))
	for name, module := range t.modules {
		next := *module
		next.Annotations, next.Rules = nil, make([]*ast.Rule, 0, len(module.Rules))
		for _, rule := range module.Rules {
			if t.hidden[rule] > 0 && len(byRule[rule]) == 0 {
				continue
			}
			next.Rules = append(next.Rules, changedRule(rule, byRule[rule]))
		}
		modules[name] = &next
	}
	return modules
}

func changedRule(rule *ast.Rule, all changes) *ast.Rule {
	if len(all) == 0 {
		return rule
	}
	copied := rule.Copy()
	dropped := map[int][]int{}
	for _, one := range all {
		dropped[one.clause.elses] = append(dropped[one.clause.elses], one.expr)
	}
	for elses, part := 0, copied; part != nil; elses, part = elses+1, part.Else {
		if len(dropped[elses]) > 0 {
			part.Body = without(part.Body, dropped[elses])
		}
	}
	return copied
}

func without(body ast.Body, dropped []int) ast.Body {
	if slices.Contains(dropped, wholeClause) {
		never := body.Copy() // which gives variables of the head their values
		never.Append(ast.NewExpr(ast.BooleanTerm(false)))
		return never
	}
	kept := ast.Body{}
	for i, expr := range body {
		if !slices.Contains(dropped, i) {
			kept.Append(expr)
		}
	}
	if len(kept) == 0 {
		kept.Append(ast.NewExpr(ast.BooleanTerm(true)))
	}
	return kept
}
