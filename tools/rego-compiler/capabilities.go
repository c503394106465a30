package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// offeredCapabilities are OPA's own, less the builtins that are not offered. No host may be asked for a schema.
func offeredCapabilities(builtins []string) *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.AllowNet = []string{}
	caps.Builtins = slices.DeleteFunc(caps.Builtins, func(builtin *ast.Builtin) bool {
		return !slices.Contains(builtins, builtin.Name)
	})
	return caps
}

// explainBuiltins rewrites "undefined function" where OPA knows the function and svidgate does not offer it.
func explainBuiltins(problems []problem, withheld map[string]string) {
	known := map[string]bool{}
	for _, builtin := range ast.CapabilitiesForThisVersion().Builtins {
		known[builtin.Name] = true
	}
	for i, found := range problems {
		name, isCall := strings.CutPrefix(found.Message, "undefined function ")
		if !isCall || !known[name] {
			continue
		}
		problems[i].Code = "builtin_not_offered"
		problems[i].Message = fmt.Sprintf("svidgate does not offer the builtin %s", name)
		if why := withheld[name]; why != "" {
			problems[i].Message += ": " + why
		}
	}
}
