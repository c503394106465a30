package main

import "github.com/open-policy-agent/opa/v1/ast"

// overlapIn finds a rule with variables in its name beside one whose name it may also have, and one with an object comprehension:
// a key with two values is an error, too.
func overlapIn(group, reached []*ast.Rule) *ast.Rule {
	for _, rule := range group {
		if !hasVariableName(rule) {
			continue
		}
		for _, other := range reached {
			if other.Ref().HasPrefix(rule.Ref().GroundPrefix()) && !other.Default && !isAlike(rule, other) {
				return rule
			}
		}
	}
	for _, rule := range group {
		if hasObjectComprehension(rule) {
			return rule
		}
	}
	return nil
}

func hasVariableName(rule *ast.Rule) bool {
	return len(rule.Ref().GroundPrefix()) < len(rule.Ref())
}

// isAlike tells whether two rules may give a value to the same name: both add to a set, or have the same value.
func isAlike(one, other *ast.Rule) bool {
	kind := one.Head.RuleKind()
	if kind != other.Head.RuleKind() || len(one.Ref()) != len(other.Ref()) {
		return false
	}
	return kind == ast.MultiValue || sameConstant([]*ast.Rule{one, other})
}

func hasObjectComprehension(rule *ast.Rule) bool {
	found := false
	ast.WalkTerms(rule, func(t *ast.Term) bool {
		if _, is := t.Value.(*ast.ObjectComprehension); is {
			found = true
		}
		return found
	})
	return found
}
