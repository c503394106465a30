package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// inputReads tells which parts of the input a policy can look at: paths of object keys and array indexes, none
// of which begins with another one. Nil stands for the whole input. What is not below one of them changes no answer.
type inputReads struct {
	paths   []inputPath
	whole   bool
	aliases map[string]alias
}

// alias is a rule that stands for a part of the input and for nothing else.
type alias struct {
	path, target inputPath
}

// inputPath holds a step for each key: textStep and the key, or the index in decimal digits.
type inputPath []string

const (
	textStep = "="
	// An array of which a later element is read is taken whole.
	maxIndex = 31
)

// findAliases makes the compiler note rules such as `request := input.attributes.request.http`: who refers to
// `request.method` reads the method only. It looks after names have been resolved, and before values are taken apart.
func findAliases(compiler *ast.Compiler) map[string]alias {
	aliases := map[string]alias{}
	compiler.WithStageAfterID(ast.StageRewriteLocalVars, ast.CompilerStageDefinition{
		Name:       "FindInputAliases",
		MetricName: "find_input_aliases",
		Stage: func(compiler *ast.Compiler) *ast.Error {
			var all []inputPath
			for _, module := range compiler.Modules {
				for _, rule := range module.Rules {
					path, isPlain := constantPath(rule.Ref())
					all = append(all, path)
					if target, isAlias := aliasTarget(rule); isAlias && isPlain {
						aliases[pathKey(path)] = alias{path: path, target: target}
					}
				}
			}
			// Where another rule may give a value to the same place, both values are compared, and all of them is read.
			for key, alias := range aliases {
				count := 0
				for _, path := range all {
					if isPrefix(path, alias.path) || isPrefix(alias.path, path) {
						count++
					}
				}
				if count > 1 {
					delete(aliases, key)
				}
			}
			return nil
		},
	})
	return aliases
}

func aliasTarget(rule *ast.Rule) (inputPath, bool) {
	if rule.Default || rule.Else != nil || len(rule.Head.Args) > 0 || rule.Head.Key != nil || rule.Head.Value == nil {
		return nil, false
	}
	if !rule.Body.Equal(ast.NewBody(ast.NewExpr(ast.BooleanTerm(true)))) {
		return nil, false
	}
	ref, isRef := rule.Head.Value.Value.(ast.Ref)
	if !isRef || !ref[0].Equal(ast.InputRootDocument) {
		return nil, false
	}
	path, isPlain := constantPath(ref)
	return path[1:], isPlain && len(path) > 1
}

// readsOf looks at the compiled modules, in which all forms of the language have become a few.
func readsOf(compiler *ast.Compiler, aliases map[string]alias, entrypoints []ast.Ref) [][]any {
	reads := &inputReads{aliases: aliases}
	for _, module := range compiler.Modules {
		for _, rule := range module.Rules {
			path, isPlain := constantPath(rule.Ref())
			if _, isAlias := aliases[pathKey(path)]; isPlain && isAlias {
				continue
			}
			reads.visit(rule)
		}
	}
	for _, entrypoint := range entrypoints {
		reads.ref(entrypoint)
	}
	if reads.whole {
		return nil
	}
	return keysOf(shortest(reads.paths))
}

func (r *inputReads) visit(node any) {
	ast.NewGenericVisitor(func(x any) bool {
		term, isTerm := x.(*ast.Term)
		if !isTerm {
			return false
		}
		switch value := term.Value.(type) {
		case ast.Var:
			r.whole = r.whole || value.Equal(ast.InputRootDocument.Value)
		case ast.Ref:
			r.ref(value)
			for _, part := range value[1:] {
				r.visit(part)
			}
			if _, isVar := value[0].Value.(ast.Var); !isVar {
				r.visit(value[0])
			}
			return true
		}
		return false
	}).Walk(node)
}

func (r *inputReads) ref(ref ast.Ref) {
	path, _ := constantPath(ref)
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		r.add(path[1:])
	case ref[0].Equal(ast.DefaultRootDocument):
		for _, alias := range r.aliases {
			switch {
			case isPrefix(alias.path, path):
				r.add(slices.Concat(alias.target, path[len(alias.path):]))
			case isPrefix(path, alias.path):
				r.add(alias.target)
			}
		}
	}
}

func (r *inputReads) add(path inputPath) {
	r.whole = r.whole || len(path) == 0
	r.paths = append(r.paths, path)
}

// constantPath is the part of a reference up to the first key that is not known now, and whether that is all.
func constantPath(ref ast.Ref) (inputPath, bool) {
	var path inputPath
	for i, term := range ref {
		switch value := term.Value.(type) {
		case ast.String:
			path = append(path, textStep+string(value))
		case ast.Number:
			index, isInt := value.Int()
			if !isInt || index < 0 || index > maxIndex || i == 0 {
				return path, false
			}
			path = append(path, strconv.Itoa(index))
		case ast.Var:
			if i > 0 {
				return path, false
			}
			path = append(path, textStep+string(value))
		default:
			if i == 0 {
				path = append(path, "")
			}
			return path, false
		}
	}
	return path, true
}

func pathKey(path inputPath) string {
	return fmt.Sprintf("%q", path)
}

func isPrefix(prefix, path inputPath) bool {
	return len(prefix) <= len(path) && slices.Equal(prefix, path[:len(prefix)])
}

// shortest leaves out what stands below another path.
func shortest(paths []inputPath) []inputPath {
	slices.SortFunc(paths, slices.Compare[inputPath])
	kept := []inputPath{}
	for _, path := range paths {
		if len(kept) == 0 || !isPrefix(kept[len(kept)-1], path) {
			kept = append(kept, path)
		}
	}
	return kept
}

// keysOf gives texts and integers.
func keysOf(paths []inputPath) [][]any {
	all := make([][]any, 0, len(paths))
	for _, path := range paths {
		keys := make([]any, 0, len(path))
		for _, step := range path {
			if text, isText := strings.CutPrefix(step, textStep); isText {
				keys = append(keys, text)
			} else if index, err := strconv.Atoi(step); err == nil {
				keys = append(keys, index)
			}
		}
		all = append(all, keys)
	}
	return all
}
