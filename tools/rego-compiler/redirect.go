package main

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// hostPrefix is put before the names of builtins that the WASM module would answer itself, so that it asks its host.
const hostPrefix = "host."

// place is where a builtin is named.
type place struct {
	file        string
	row, column int
	name        string
}

func placesOf(module *ast.Module, names []string, found func(*ast.Term, place)) {
	ast.WalkTerms(module, func(term *ast.Term) bool {
		ref, isRef := term.Value.(ast.Ref)
		if !isRef || term.Location == nil {
			return false
		}
		if name := ref.String(); slices.Contains(names, name) {
			at := term.Location
			found(term, place{file: at.File, row: at.Row, column: at.Col, name: name})
		}
		return false
	})
}

// findCalls makes the compiler note where the builtins are called, or named after `with`. It looks after names have been
// resolved: what a module, an import or a variable calls by the same name is no builtin.
func findCalls(compiler *ast.Compiler, names []string) map[place]bool {
	calls := map[place]bool{}
	compiler.WithStageAfterID(ast.StageRewriteLocalVars, ast.CompilerStageDefinition{
		Name:       "FindHostCalls",
		MetricName: "find_host_calls",
		Stage: func(compiler *ast.Compiler) *ast.Error {
			for _, module := range compiler.Modules {
				placesOf(module, names, func(_ *ast.Term, at place) { calls[at] = true })
			}
			return nil
		},
	})
	return calls
}

// redirectCalls renames the builtins at these places.
func redirectCalls(modules map[string]*ast.Module, calls map[place]bool) {
	for _, module := range modules {
		var terms []*ast.Term
		var names []string
		for at := range calls {
			names = append(names, at.name)
		}
		placesOf(module, names, func(term *ast.Term, at place) {
			if calls[at] {
				terms = append(terms, term)
			}
		})
		for _, term := range terms {
			name := term.Value.(ast.Ref).String()
			term.Value = ast.MustParseRef(hostPrefix + name)
		}
	}
}

// withRedirected adds the renamed builtins.
func withRedirected(caps *ast.Capabilities, names []string) *ast.Capabilities {
	extended := *caps
	extended.Builtins = slices.Clone(caps.Builtins)
	for _, builtin := range caps.Builtins {
		if slices.Contains(names, builtin.Name) {
			renamed := *builtin
			renamed.Name = hostPrefix + builtin.Name
			extended.Builtins = append(extended.Builtins, &renamed)
		}
	}
	return &extended
}
