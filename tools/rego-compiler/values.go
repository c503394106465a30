package main

import (
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// valueReader tells what expressions of the policy stood for in the evaluation that is explained.
type valueReader struct {
	trials *trials
	masked []string
}

const (
	maxValueLength = 300
	maxValues      = 12
)

// variables are those of a rule that held, by name.
func (v *valueReader) variables(of *exit) []namedValue {
	var names []string
	for name := range of.bindings {
		names = append(names, string(name))
	}
	slices.Sort(names)
	var values []namedValue
	for _, name := range names {
		values = append(values, namedValue{Name: name, Value: cut(of.bindings[ast.Var(name)])})
	}
	return values
}

// in gives the value of each reference and variable that is written there. Values of variables are those of the exit.
func (v *valueReader) in(of *clause, node any, at *exit) []namedValue {
	var bindings map[ast.Var]ast.Value
	if at != nil {
		bindings = at.bindings
	}
	var values []namedValue
	seen := map[string]bool{}
	var visit *ast.GenericVisitor
	visit = ast.NewGenericVisitor(func(x any) bool {
		term, isTerm := x.(*ast.Term)
		if !isTerm {
			return false
		}
		switch value := term.Value.(type) {
		case ast.Call:
			for _, operand := range value[1:] { // without the name of the function
				visit.Walk(operand)
			}
			return true
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case ast.Var, ast.Ref:
			values = v.append(values, seen, of, term, bindings)
			return true
		}
		return false
	})
	visit.Walk(operandsOf(node))
	return values
}

// operandsOf leaves out the names of functions, and what is not a value before it is declared.
func operandsOf(node any) any {
	switch node := node.(type) {
	case ast.Body:
		var all []*ast.Term
		for _, expr := range node {
			all = append(all, operandsOf(expr).(ast.Body)[0].Terms.(*ast.Term))
		}
		return ast.NewBody(ast.NewExpr(ast.ArrayTerm(all...)))
	case *ast.Expr:
		var operands []*ast.Term
		switch terms := node.Terms.(type) {
		case *ast.Term:
			operands = []*ast.Term{terms}
		case []*ast.Term:
			operands = terms[1:]
		case *ast.SomeDecl:
			for _, symbol := range terms.Symbols {
				if call, isCall := symbol.Value.(ast.Call); isCall {
					operands = append(operands, call[len(call)-1])
				}
			}
		case *ast.Every:
			operands = []*ast.Term{terms.Domain}
		}
		return ast.NewBody(ast.NewExpr(ast.ArrayTerm(operands...)))
	}
	return node
}

func (v *valueReader) append(values []namedValue, seen map[string]bool, of *clause, term *ast.Term, bindings map[ast.Var]ast.Value) []namedValue {
	switch term.Value.(type) {
	case ast.Var, ast.Ref:
	default:
		return values
	}
	name := term.Value.String()
	if term.Location != nil && len(term.Location.Text) > 0 {
		name = strings.TrimSpace(string(term.Location.Text))
	}
	if seen[name] || len(values) >= maxValues {
		return values
	}
	if local, isVar := term.Value.(ast.Var); isVar {
		if local.IsWildcard() || local.IsGenerated() {
			return values
		}
		if _, isBound := bindings[local]; !isBound && resolve(of.module, ast.Ref{term}) == nil {
			return values // of a function, or not bound there
		}
	}
	seen[name] = true
	found := namedValue{Name: name}
	ground, isBound := bind(term, bindings)
	if !isBound && !isResolvable(of.module, term) {
		return values
	}
	found.Value = v.evaluate(of, ground)
	found.Masked = v.isMasked(of, ground)
	values = append(values, found)
	if found.Value != "" || found.Masked {
		return values
	}
	// Why it is undefined.
	for _, rule := range v.trials.clausesIn(of, term) {
		for _, node := range []ast.Body{rule.rule.Body, headOf(rule)} {
			for _, below := range v.in(rule, node, nil) {
				if !seen[below.Name] && len(values) < maxValues {
					seen[below.Name] = true
					values = append(values, below)
				}
			}
		}
	}
	return values
}

func isResolvable(module *ast.Module, term *ast.Term) bool {
	ref, isRef := term.Value.(ast.Ref)
	if !isRef {
		ref = ast.Ref{term}
	}
	return resolve(module, ref) != nil && ref[1:].IsGround()
}

// bind puts values in the place of variables; false where one has none.
func bind(term *ast.Term, bindings map[ast.Var]ast.Value) (*ast.Term, bool) {
	switch value := term.Value.(type) {
	case ast.Var:
		bound, isBound := bindings[value]
		if !isBound {
			return term, false
		}
		return ast.NewTerm(bound), true
	case ast.Ref:
		bound := slices.Clone(value)
		all := true
		for i, part := range value {
			local, isVar := part.Value.(ast.Var)
			if !isVar {
				continue
			}
			if known, isBound := bindings[local]; isBound {
				bound[i] = ast.NewTerm(known)
			} else {
				all = false
			}
		}
		return ast.NewTerm(bound), all
	}
	return term, true
}

func (v *valueReader) evaluate(of *clause, term *ast.Term) string {
	if term.Value.IsGround() {
		if _, isRef := term.Value.(ast.Ref); !isRef {
			return cut(term.Value)
		}
	}
	const found = "svidgate_found"
	results, err := rego.New(
		rego.Compiler(v.trials.original),
		rego.Capabilities(v.trials.caps),
		rego.Store(v.trials.store),
		rego.ParsedPackage(of.module.Package),
		rego.ParsedImports(slices.Clone(of.module.Imports)),
		rego.ParsedQuery(ast.NewBody(ast.Equality.Expr(ast.VarTerm(found), term))),
		rego.Input(v.trials.input),
		rego.Time(time.Unix(0, v.trials.req.NowNs)),
		rego.NDBuiltinCache(v.trials.nd),
	).Eval(v.trials.ctx)
	if err != nil || len(results) == 0 {
		return ""
	}
	value, err := ast.InterfaceToValue(results[0].Bindings[found])
	if err != nil {
		return ""
	}
	return cut(value)
}

func cut(value ast.Value) string {
	text := value.String()
	if json, err := ast.JSON(value); err == nil {
		if plain, err := ast.InterfaceToValue(json); err == nil {
			text = plain.String()
		}
	}
	if runes := []rune(text); len(runes) > maxValueLength {
		return string(runes[:maxValueLength]) + "…"
	}
	return text
}

// isMasked follows names that stand for a part of the input.
func (v *valueReader) isMasked(of *clause, term *ast.Term) bool {
	ref, isRef := term.Value.(ast.Ref)
	if !isRef {
		if _, isVar := term.Value.(ast.Var); !isVar {
			return false
		}
		ref = ast.Ref{term}
	}
	for range maxDepth {
		full := resolve(of.module, ref)
		if full == nil {
			return false
		}
		if full[0].Equal(ast.InputRootDocument) {
			return v.covers(full)
		}
		next := v.target(full)
		if next == nil {
			return false
		}
		ref = next
	}
	return false
}

// target gives what a rule such as `request := input.attributes.request.http` stands for.
func (v *valueReader) target(full ast.Ref) ast.Ref {
	for _, candidate := range v.trials.clauses {
		if !full.HasPrefix(candidate.ref) || candidate.rule.Head.Value == nil {
			continue
		}
		value, isRef := candidate.rule.Head.Value.Value.(ast.Ref)
		if isRef && value[0].Equal(ast.InputRootDocument) {
			return value.Concat(full[len(candidate.ref):])
		}
	}
	return nil
}

func (v *valueReader) covers(ref ast.Ref) bool {
	pointer := ""
	for _, part := range ref.ConstantPrefix()[1:] {
		text := strings.Trim(part.Value.String(), `"`)
		if plain, isText := part.Value.(ast.String); isText {
			text = string(plain)
		}
		pointer += "/" + strings.ReplaceAll(strings.ReplaceAll(text, "~", "~0"), "/", "~1")
	}
	return slices.ContainsFunc(v.masked, func(masked string) bool {
		return masked == pointer || strings.HasPrefix(masked, pointer+"/") || strings.HasPrefix(pointer, masked+"/")
	})
}
