package main

import (
	"context"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// explanation says why a policy decided as it did about one input.
type explanation struct {
	// Outcome is "allow", "deny" (a value that does not allow), "undefined" or "error".
	Outcome string `json:"outcome"`
	// Value is the JSON text of what the entrypoint gave; empty when undefined.
	Value string `json:"value,omitempty"`
	// Error is what the evaluation ended with.
	Error string `json:"error,omitempty"`
	// Allowed are the rules that gave an allow, in the order of evaluation.
	Allowed []allowingRule `json:"allowed,omitempty"`
	// Nearest are the rules that would have allowed, those with the fewest failing conditions first.
	Nearest []nearRule `json:"nearest,omitempty"`
	// NotTried is how many rules failed so early that they were not tried.
	NotTried int `json:"notTried,omitempty"`
	// Incomplete tells that the search ended by its limits.
	Incomplete bool `json:"incomplete,omitempty"`
}

// ruleName is a rule and where it stands.
type ruleName struct {
	Rule string `json:"rule"`
	// Title is that of its metadata.
	Title  string `json:"title,omitempty"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// allowingRule is a rule that held.
type allowingRule struct {
	ruleName
	// Alone tells that without this rule the request would not have been allowed: tried, not guessed.
	Alone bool `json:"alone"`
	// Values are those of its variables.
	Values []namedValue `json:"values,omitempty"`
}

// nearRule is a rule that did not hold. With all of its conditions taken as said, the decision is an allow: tried.
type nearRule struct {
	ruleName
	Conditions []condition `json:"conditions"`
}

// condition is one that failed, or a rule that held and should not.
type condition struct {
	// Taken is "true" for a condition that failed, and "false" for a rule that held.
	Taken string `json:"taken"`
	Text  string `json:"text"`
	// Rule is the one that it stands in, or that held.
	ruleName
	// Values are what it met.
	Values []namedValue `json:"values,omitempty"`
}

// namedValue is what an expression of the policy stood for.
type namedValue struct {
	Name string `json:"name"`
	// Value is JSON text, cut off where it is long; empty when undefined.
	Value string `json:"value,omitempty"`
	// Masked tells that the record does not hold the real one, or a part of it.
	Masked bool `json:"masked,omitempty"`
}

const (
	// How often a policy is tried with something changed.
	maxTrials = 2000
	trialTime = 12 * time.Second
	// How many rules a deny names.
	maxNearest = 3
	// How many rules beside one another are tried, those first that failed at their last conditions.
	maxSiblings = 24
	// Rules that refer to rules.
	maxDepth = 6
)

// explain evaluates the policy as it was evaluated, and then with conditions changed until the decision is another one.
func explain(ctx context.Context, req request) response {
	trial, problems := newTrials(ctx, req)
	if len(problems) > 0 {
		return failed(problems...)
	}
	first := trial.evaluate(nil, nil)
	if len(first.problems) > 0 {
		return failed(first.problems...)
	}
	found := &explanation{Outcome: first.outcome(), Value: first.text, Error: first.message}
	values := &valueReader{trials: trial, masked: req.Masked}
	if found.Outcome == "allow" {
		held := &tracer{}
		trial.evaluate(nil, held)
		found.Allowed = allowedBy(trial, held, values)
	} else {
		trial.base = newTracer(trial.clauses)
		trial.evaluate(nil, trial.base)
		search := &search{trials: trial, values: values}
		found.Nearest = search.nearest()
		found.NotTried = search.notTried
	}
	found.Incomplete = trial.isExhausted()
	return response{OK: true, Explanation: found}
}

// allowedBy follows the value of the entrypoint to the rules that gave it.
func allowedBy(trial *trials, tracer *tracer, values *valueReader) []allowingRule {
	var rules []allowingRule
	seen := map[*clause]bool{}
	var follow func(of []*clause, depth int)
	follow = func(of []*clause, depth int) {
		for _, held := range of {
			exit := tracer.of(held)
			if exit == nil || seen[held] || depth > maxDepth {
				continue
			}
			seen[held] = true
			changed := trial.evaluate(changes{{clause: held, expr: wholeClause}}, nil)
			isAlone := changed.outcome() != "allow"
			// A rule that only passes a value on is explained by where that comes from.
			next := trial.clausesIn(held, headOf(held))
			if !held.isTrivial() || len(next) == 0 {
				rules = append(rules, allowingRule{
					ruleName: held.name(), Alone: isAlone, Values: values.variables(exit),
				})
			}
			follow(next, depth+1)
		}
	}
	follow(trial.entry(), 0)
	return rules
}

// headOf is what a rule gives.
func headOf(of *clause) ast.Body {
	terms := slices.DeleteFunc([]*ast.Term{of.rule.Head.Value, of.rule.Head.Key}, func(term *ast.Term) bool { return term == nil })
	return ast.NewBody(ast.NewExpr(ast.ArrayTerm(terms...)))
}
