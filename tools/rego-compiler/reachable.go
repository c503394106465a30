package main

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// reachableModules tells which modules the entrypoints can look at: those whose package lies above or below a place that an
// entrypoint, or a module that is reachable already, refers to. The modules are compiled, so that references are whole.
func reachableModules(compiler *ast.Compiler, entrypoints []ast.Ref) map[string]bool {
	reachable := map[string]bool{}
	var next []string
	heads := map[*ast.Term]bool{}
	reach := func(ref ast.Ref) {
		if !ref[0].Equal(ast.DefaultRootDocument) {
			return
		}
		path := ref.ConstantPrefix()
		for name, module := range compiler.Modules {
			if !reachable[name] && (path.HasPrefix(module.Package.Path) || module.Package.Path.HasPrefix(path)) {
				reachable[name] = true
				next = append(next, name)
			}
		}
	}
	for _, entrypoint := range entrypoints {
		reach(entrypoint)
	}
	for len(next) > 0 {
		module := compiler.Modules[next[0]]
		next = next[1:]
		visitor := ast.NewGenericVisitor(func(x any) bool {
			term, isTerm := x.(*ast.Term)
			if !isTerm {
				return false
			}
			ref, isRef := term.Value.(ast.Ref)
			switch {
			case isRef:
				reach(ref)
			case term.Equal(ast.DefaultRootDocument): // the whole of data, or the head of a reference
				_, inRef := heads[term]
				if !inRef {
					reach(ast.Ref{term})
				}
			}
			if isRef {
				heads[ref[0]] = true
			}
			return false
		})
		for _, rule := range module.Rules {
			visitor.Walk(rule)
		}
	}
	return reachable
}
