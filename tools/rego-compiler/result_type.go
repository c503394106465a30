package main

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// unusableResults finds entrypoints whose value, as OPA's type checker knows it, is never a decision: neither a boolean
// nor an object that may have a boolean `allowed`. What it cannot tell, such as a part of the input, may be one.
func unusableResults(compiler *ast.Compiler, refs []ast.Ref, entrypoints []string) []problem {
	var problems []problem
	for i, ref := range refs {
		found := compiler.TypeEnv.GetByRef(ref)
		if found == nil || mayDecide(found) {
			continue
		}
		next := problem{
			Code: "result_type",
			Message: fmt.Sprintf("the entrypoint %s gives %s, never a boolean or an object with a boolean `allowed`",
				entrypoints[i], shortType(found)),
		}
		if rules := compiler.GetRules(ref); len(rules) > 0 && rules[0].Location != nil {
			at := rules[0].Location
			next.File, next.Line, next.Column = at.File, at.Row, at.Col
		}
		problems = append(problems, next)
	}
	return problems
}

func mayDecide(found types.Type) bool {
	switch found := found.(type) {
	case types.Any:
		return anyOf(found, mayDecide)
	case *types.Object:
		allowed := types.Select(found, "allowed")
		return allowed != nil && mayBeBoolean(allowed)
	default:
		return mayBeBoolean(found)
	}
}

func mayBeBoolean(found types.Type) bool {
	switch found := found.(type) {
	case types.Any:
		return anyOf(found, mayBeBoolean)
	case types.Null, types.Number, types.String, *types.Array, *types.Set, *types.Object, *types.Function:
		return false
	default:
		return true
	}
}

// anyOf holds for the empty union, which stands for any value.
func anyOf(union types.Any, holds func(types.Type) bool) bool {
	for _, member := range union {
		if holds(member) {
			return true
		}
	}
	return len(union) == 0
}

// shortType is the type in OPA's words, without what would fill a page.
func shortType(found types.Type) string {
	const limit = 200
	text := types.Sprint(found)
	if len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}
