package main

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// tracer notes which rules held, with which values, and how far the others got.
type tracer struct {
	held map[string]*exit
	// places are the conditions by where they stand: only then it is noted how far rules got, and every rule is evaluated.
	places  map[string]conditionPlace
	reached map[*clause]int
}

type conditionPlace struct {
	clause *clause
	expr   int
}

type exit struct {
	bindings map[ast.Var]ast.Value
}

// newTracer notes how far each of the clauses gets.
func newTracer(clauses []*clause) *tracer {
	t := &tracer{places: map[string]conditionPlace{}, reached: map[*clause]int{}}
	for _, one := range clauses {
		for i, expr := range one.rule.Body {
			if expr.Location != nil {
				t.places[placeKey(expr.Location)] = conditionPlace{one, i}
			}
		}
	}
	return t
}

func placeKey(at *ast.Location) string {
	return fmt.Sprintf("%s:%d:%d", at.File, at.Row, at.Col)
}

// of gives the first exit of the clause; nil when it did not hold.
func (t *tracer) of(c *clause) *exit {
	return t.held[c.key()]
}

func (t *tracer) holds(c *clause) bool {
	return t.held[c.key()] != nil
}

// left is how many conditions of the clause were not passed.
func (t *tracer) left(c *clause) int {
	reached, isReached := t.reached[c]
	if !isReached {
		return len(c.rule.Body) + 1
	}
	return len(c.rule.Body) - reached
}

// Enabled implements topdown.QueryTracer.
func (t *tracer) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (t *tracer) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

// TraceEvent implements topdown.QueryTracer.
func (t *tracer) TraceEvent(event topdown.Event) {
	switch node := event.Node.(type) {
	case *ast.Expr:
		if event.Op == topdown.EvalOp && node.Location != nil {
			if at, isKnown := t.places[placeKey(node.Location)]; isKnown {
				t.reached[at.clause] = max(t.reached[at.clause], at.expr)
			}
		}
	case *ast.Rule:
		if event.Op == topdown.ExitOp && node.Location != nil {
			t.keep(placeKey(node.Location), event)
		}
	}
}

func (t *tracer) keep(key string, event topdown.Event) {
	if t.held == nil {
		t.held = map[string]*exit{}
	}
	if t.held[key] != nil {
		return
	}
	bindings := map[ast.Var]ast.Value{}
	if event.Locals != nil {
		event.Locals.Iter(func(name, value ast.Value) bool {
			if local, isVar := name.(ast.Var); isVar {
				if named, isKnown := event.LocalMetadata[local]; isKnown {
					local = named.Name
				}
				if value.IsGround() && !local.IsGenerated() && !local.IsWildcard() {
					bindings[local] = value
				}
			}
			return false
		})
	}
	t.held[key] = &exit{bindings: bindings}
}
