package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// residual is what is left of one query when all is known but the unknowns: it holds where one of the conjunctions does.
type residual struct {
	Conjunctions []residualQuery `json:"conjunctions"`
	// Support are rules that conditions refer to, where something could not be written as a plain condition.
	Support []supportRule `json:"support"`
	// Modules is the Rego of Support, by package.
	Modules []string `json:"modules"`
}

// residualQuery holds where all its conditions do; without any it always holds.
type residualQuery struct {
	Conditions []residualCondition `json:"conditions"`
	// Text is the body as Rego.
	Text string `json:"text"`
}

// supportRule is one rule of a supporting module: Path without "data".
type supportRule struct {
	Path       []residualTerm      `json:"path"`
	Args       []residualTerm      `json:"args,omitempty"`
	Key        *residualTerm       `json:"key,omitempty"`
	Value      *residualTerm       `json:"value,omitempty"`
	Default    bool                `json:"default"`
	Conditions []residualCondition `json:"conditions"`
	Text       string              `json:"text"`
	Else       bool                `json:"else"`
}

// residualCondition is one expression: a term that must be neither undefined nor false, or the call of a builtin or function.
type residualCondition struct {
	Negated bool `json:"negated,omitempty"`
	// Operator is the name of the builtin; empty for a term alone, which is Args[0], and for Kind "every" and "some".
	Operator string         `json:"operator,omitempty"`
	Args     []residualTerm `json:"args,omitempty"`
	// Output tells that the last argument takes the result of the call.
	Output bool `json:"output,omitempty"`
	// Opaque conditions have a form that Text alone shows: every, with.
	Opaque bool `json:"opaque,omitempty"`
	// Text is the condition as Rego.
	Text string `json:"text"`
	// Where it stands in the policy; 0 where that is not known.
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	// Rule is the line where the rule begins that it stands in, and RuleName the path of that rule.
	Rule     int    `json:"rule,omitempty"`
	RuleName string `json:"ruleName,omitempty"`
}

// residualTerm has one of its fields.
type residualTerm struct {
	// Value is JSON text without variables; sets are in Set.
	Value *json.RawMessage `json:"value,omitempty"`
	// Ref begins with a var, such as input.
	Ref    []residualTerm    `json:"ref,omitempty"`
	Var    string            `json:"var,omitempty"`
	Array  []residualTerm    `json:"array,omitempty"`
	Set    []residualTerm    `json:"set,omitempty"`
	Object [][2]residualTerm `json:"object,omitempty"`
	Call   *residualCall     `json:"call,omitempty"`
	// Kind is the kind of a term with no other field: an empty array, set or object, or a comprehension.
	Kind string `json:"kind,omitempty"`
	Text string `json:"text,omitempty"`
}

type residualCall struct {
	Operator string         `json:"operator"`
	Args     []residualTerm `json:"args"`
}

// partial evaluates queries as far as it can be done while the unknowns are not known: data is, builtins that depend on
// more than their arguments are not called.
func partial(ctx context.Context, req request) response {
	caps := offeredCapabilities(req.Builtins)
	modules, problems := parseModules(req.Modules, caps)
	data, dataProblems := mergeDocuments(req.Data)
	problems = append(problems, dataProblems...)
	if len(problems) > 0 {
		return failed(problems...)
	}
	starts := ruleStartsOf(modules)
	res := response{OK: true, Residuals: []residual{}, Constants: constantsOf(modules)}
	compiler := newCompiler(caps, data, false)
	compiler.Compile(copyModules(modules))
	if compiler.Failed() {
		return failed(fromErrors(compiler.Errors)...)
	}
	if len(req.Entrypoints) > 0 {
		res.Conflicts, res.Deciding = conflictsOf(compiler, req.Entrypoints)
	}
	if hasElse(modules) {
		for _, module := range modules {
			splitElse(module)
		}
		compiler = newCompiler(caps, data, false)
		compiler.Compile(modules)
		if compiler.Failed() {
			return failed(fromErrors(compiler.Errors)...)
		}
	}
	unknowns := req.Unknowns
	if len(unknowns) == 0 {
		unknowns = []string{"input"}
	}
	for i, query := range req.Queries {
		found, err := rego.New(
			rego.Compiler(compiler),
			rego.Capabilities(caps),
			rego.Store(inmem.NewFromObject(data)),
			rego.Query(query),
			rego.Unknowns(unknowns),
			// Of its own, so that the modules of several residuals can stand side by side, and beside the policy.
			rego.PartialNamespace(fmt.Sprintf("svidgate_partial_%d", i)),
		).Partial(ctx)
		if cannotHold(err) {
			found, err = &rego.PartialQueries{}, nil
		}
		if err != nil {
			return failed(fromError(err)...)
		}
		res.Residuals = append(res.Residuals, residualOf(found, starts))
	}
	return res
}

// cannotHold tells whether a query compares what is never of the same type, or looks up what is never there.
func cannotHold(err error) bool {
	problems := []problem{}
	if err != nil {
		problems = fromError(err)
	}
	for _, found := range problems {
		if found.Code != ast.TypeErr || (found.Message != "match error" && !strings.HasPrefix(found.Message, "undefined ref: ")) {
			return false
		}
	}
	return len(problems) > 0
}

// constantsOf are the texts and numbers that the rules name, as JSON, without keys of references.
func constantsOf(modules map[string]*ast.Module) []residualTerm {
	found := map[string]residualTerm{}
	for _, module := range modules {
		for _, rule := range module.Rules {
			ast.WalkTerms(rule, func(t *ast.Term) bool {
				switch value := t.Value.(type) {
				case ast.String, ast.Number:
					found[value.String()] = constant(value)
				case ast.Ref:
					for _, part := range value[1:] {
						if _, isRef := part.Value.(ast.Ref); isRef {
							return false
						}
					}
					return true
				}
				return false
			})
		}
	}
	constants := make([]residualTerm, 0, len(found))
	for _, text := range sortedKeys(found) {
		constants = append(constants, found[text])
	}
	return constants
}

func residualOf(found *rego.PartialQueries, starts ruleStarts) residual {
	left := residual{Conjunctions: []residualQuery{}, Support: []supportRule{}, Modules: []string{}}
	for _, body := range found.Queries {
		body = withNamedVars(body)
		left.Conjunctions = append(left.Conjunctions, residualQuery{
			Conditions: conditionsOf(body, starts),
			Text:       residualText(body),
		})
	}
	for _, module := range found.Support {
		module = withNamedVars(module)
		left.Modules = append(left.Modules, regoEscapes(module.String()))
		for _, rule := range module.Rules {
			for at := rule; at != nil; at = at.Else {
				left.Support = append(left.Support, supportRuleOf(module, rule, at, starts))
			}
		}
	}
	return left
}

// withNamedVars gives names to wildcards: one that stands in two places would become two.
func withNamedVars[T any](node T) T {
	named, err := ast.TransformVars(node, func(v ast.Var) (ast.Value, error) {
		if name, isWildcard := strings.CutPrefix(string(v), ast.WildcardPrefix); isWildcard {
			return ast.Var("__wildcard_" + name + "__"), nil
		}
		return v, nil
	})
	if err != nil {
		return node
	}
	return named.(T)
}

// residualText is the body with one expression a line.
func residualText(body ast.Body) string {
	lines := make([]string, 0, len(body))
	for _, expr := range body {
		lines = append(lines, regoEscapes(expr.String()))
	}
	return strings.Join(lines, "\n")
}

var goEscape = regexp.MustCompile(`\\(?:x([0-9a-f]{2})|U([0-9a-f]{8})|.)`)

// regoEscapes writes the escapes of Go's literals, with which OPA prints terms, as Rego reads them.
func regoEscapes(text string) string {
	return goEscape.ReplaceAllStringFunc(text, func(escape string) string {
		switch escape[1] {
		case 'a':
			return `\u0007`
		case 'v':
			return `\u000b`
		case 'x':
			return `\u00` + escape[2:]
		case 'U':
			code, err := strconv.ParseInt(escape[2:], 16, 32)
			if err != nil {
				return escape
			}
			return string(rune(code))
		default:
			return escape
		}
	})
}

// supportRuleOf describes a rule, or the else branch of one.
func supportRuleOf(module *ast.Module, rule, at *ast.Rule, starts ruleStarts) supportRule {
	path := append(module.Package.Path.Copy(), rule.Head.Ref()[1:]...)
	if rule.Head.Name == "" || len(rule.Head.Ref()) > 0 {
		path = module.Package.Path.Extend(rule.Head.Ref())
	}
	described := supportRule{
		Path:       termsOf(path[1:]),
		Args:       termsOf(at.Head.Args),
		Default:    rule.Default,
		Conditions: conditionsOf(at.Body, starts),
		Text:       residualText(at.Body),
		Else:       at != rule,
	}
	if at.Head.Key != nil {
		key := termOf(at.Head.Key)
		described.Key = &key
	}
	if at.Head.Value != nil {
		value := termOf(at.Head.Value)
		described.Value = &value
	}
	return described
}

func conditionsOf(body ast.Body, starts ruleStarts) []residualCondition {
	conditions := []residualCondition{}
	for _, expr := range body {
		conditions = append(conditions, conditionOf(expr, starts))
	}
	return conditions
}

func conditionOf(expr *ast.Expr, starts ruleStarts) residualCondition {
	described := residualCondition{Negated: expr.Negated, Text: regoEscapes(expr.String())}
	described.at(expr, starts)
	if len(expr.With) > 0 {
		described.Opaque = true
		return described
	}
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		described.Args = []residualTerm{termOf(terms)}
	case []*ast.Term:
		described.Operator = terms[0].String()
		described.Args = termsOf(terms[1:])
		if builtin := ast.BuiltinMap[described.Operator]; builtin != nil {
			described.Output = len(terms)-1 > len(builtin.Decl.FuncArgs().Args)
		} else {
			described.Opaque = true
		}
	default:
		described.Opaque = true
	}
	return described
}

// at looks for the place in the expression and in what it is made of: what the evaluator puts together itself has none.
func (c *residualCondition) at(expr *ast.Expr, starts ruleStarts) {
	var found *ast.Location
	take := func(location *ast.Location) {
		if found == nil && location != nil && location.File != "" && starts[location.File] != nil {
			found = location
		}
	}
	take(expr.Location)
	ast.WalkTerms(expr, func(t *ast.Term) bool {
		take(t.Location)
		return found != nil
	})
	if found == nil {
		return
	}
	c.File, c.Line, c.Column = found.File, found.Row, found.Col
	for _, start := range starts[found.File] {
		if start.row <= found.Row && start.row >= c.Rule {
			c.Rule, c.RuleName = start.row, start.name
		}
	}
}

func termsOf(terms []*ast.Term) []residualTerm {
	described := make([]residualTerm, 0, len(terms))
	for _, one := range terms {
		described = append(described, termOf(one))
	}
	return described
}

func termOf(t *ast.Term) residualTerm {
	switch value := t.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String:
		return constant(value)
	case ast.Var:
		return residualTerm{Var: string(value)}
	case ast.Ref:
		return residualTerm{Ref: termsOf(value)}
	case *ast.Array:
		var elements []residualTerm
		value.Foreach(func(each *ast.Term) { elements = append(elements, termOf(each)) })
		return orKind(residualTerm{Array: elements}, "array", len(elements))
	case ast.Set:
		var elements []residualTerm
		value.Foreach(func(each *ast.Term) { elements = append(elements, termOf(each)) })
		return orKind(residualTerm{Set: elements}, "set", len(elements))
	case ast.Object:
		var members [][2]residualTerm
		value.Foreach(func(key, each *ast.Term) { members = append(members, [2]residualTerm{termOf(key), termOf(each)}) })
		return orKind(residualTerm{Object: members}, "object", len(members))
	case ast.Call:
		return residualTerm{Call: &residualCall{Operator: value[0].String(), Args: termsOf(value[1:])}}
	default:
		return residualTerm{Kind: "other", Text: t.String()}
	}
}

func constant(value ast.Value) residualTerm {
	text := json.RawMessage(value.String())
	if found, isText := value.(ast.String); isText {
		encoded, err := json.Marshal(string(found))
		if err != nil {
			return residualTerm{Kind: "other", Text: fmt.Sprint(found)}
		}
		text = encoded
	}
	return residualTerm{Value: &text}
}

func orKind(described residualTerm, kind string, size int) residualTerm {
	if size == 0 {
		return residualTerm{Kind: kind}
	}
	return described
}
