package main

import (
	"errors"

	"github.com/open-policy-agent/opa/v1/ast"
)

// fromError takes any error of OPA apart into problems with places.
func fromError(err error) []problem {
	var many ast.Errors
	if errors.As(err, &many) {
		return fromErrors(many)
	}
	var one *ast.Error
	if errors.As(err, &one) {
		return fromErrors(ast.Errors{one})
	}
	return []problem{{Code: "build_failed", Message: err.Error()}}
}

func fromErrors(found ast.Errors) []problem {
	var problems []problem
	for _, one := range found {
		next := problem{Code: one.Code, Message: one.Message}
		if one.Location != nil {
			next.File, next.Line, next.Column = one.Location.File, one.Location.Row, one.Location.Col
		}
		problems = append(problems, next)
	}
	return problems
}
