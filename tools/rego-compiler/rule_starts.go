package main

import "github.com/open-policy-agent/opa/v1/ast"

// ruleStarts are the first rows of the rules of each file.
type ruleStarts map[string][]ruleStart

type ruleStart struct {
	row  int
	name string
}

func ruleStartsOf(modules map[string]*ast.Module) ruleStarts {
	starts := ruleStarts{}
	for file, module := range modules {
		for _, rule := range module.Rules {
			name := module.Package.Path.Extend(rule.Head.Ref()).String()
			for branch := rule; branch != nil; branch = branch.Else {
				if branch.Location != nil {
					starts[file] = append(starts[file], ruleStart{row: branch.Location.Row, name: name})
				}
			}
		}
	}
	return starts
}
