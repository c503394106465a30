package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
	"github.com/open-policy-agent/opa/v1/util"
)

// clause is one rule of a module as it is written, or one `else` of it.
type clause struct {
	file   string
	module *ast.Module
	// index is the place of the rule in its module, elses how many `else` lie before.
	index, elses int
	rule         *ast.Rule
	ref          ast.Ref
}

// change is a condition taken as true, or with wholeClause a clause taken as one that does not hold.
type change struct {
	clause *clause
	expr   int
}

const wholeClause = -1

type changes []change

// key is the same for the same changes in another order.
func (all changes) key() string {
	var keys []string
	for _, one := range all {
		keys = append(keys, fmt.Sprintf("%s#%d", one.clause.key(), one.expr))
	}
	slices.Sort(keys)
	return strings.Join(keys, "|")
}

func (all changes) with(more ...change) changes {
	return append(slices.Clone(all), more...)
}

func (c *clause) key() string {
	at := c.rule.Head.Location
	if c.rule.Location != nil {
		at = c.rule.Location
	}
	return fmt.Sprintf("%s:%d:%d", at.File, at.Row, at.Col)
}

func (c *clause) name() ruleName {
	at := c.rule.Location
	named := ruleName{Rule: strings.TrimPrefix(c.ref.String(), "data."), File: c.file, Line: at.Row, Column: at.Col}
	for _, annotations := range c.rule.Annotations {
		if named.Title == "" {
			named.Title = annotations.Title
		}
	}
	return named
}

// isTrivial tells that there is no condition.
func (c *clause) isTrivial() bool {
	return c.rule.Body.Equal(ast.NewBody(ast.NewExpr(ast.BooleanTerm(true))))
}

// trials evaluates one policy on one input, again and again with something changed.
type trials struct {
	ctx      context.Context
	req      request
	caps     *ast.Capabilities
	modules  map[string]*ast.Module
	data     map[string]any
	store    storage.Store
	input    any
	nd       builtins.NDBCache
	target   ast.Ref
	clauses  []*clause
	known    map[string]bool
	count    int
	began    time.Time
	original *ast.Compiler
}

func newTrials(ctx context.Context, req request) (*trials, []problem) {
	caps := offeredCapabilities(req.Builtins)
	modules, problems := parseModules(req.Modules, caps)
	data, dataProblems := mergeDocuments(req.Data)
	refs, refProblems := parseEntrypoints(req.Entrypoints)
	problems = append(append(problems, dataProblems...), refProblems...)
	if len(problems) > 0 {
		return nil, problems
	}
	var input any
	if err := util.UnmarshalJSON([]byte(req.Input), &input); err != nil {
		return nil, []problem{{Code: "input_invalid", Message: err.Error()}}
	}
	nd, err := recordedAnswers(req.Nd)
	if err != nil {
		return nil, []problem{{Code: "nd_invalid", Message: err.Error()}}
	}
	t := &trials{
		ctx: ctx, req: req, caps: caps, modules: modules, data: data, store: inmem.NewFromObject(data), input: input, nd: nd,
		target: refs[0], known: map[string]bool{}, began: time.Now(),
	}
	for _, file := range sortedKeys(modules) {
		module := modules[file]
		for index, rule := range module.Rules {
			elses := 0
			for part := rule; part != nil; part = part.Else {
				ref := module.Package.Path.Extend(rule.Head.Ref().GroundPrefix())
				t.clauses = append(t.clauses, &clause{
					file: file, module: module, index: index, elses: elses, rule: part, ref: ref,
				})
				elses++
			}
		}
	}
	return t, nil
}

// isExhausted tells that no more is tried.
func (t *trials) isExhausted() bool {
	return t.count >= maxTrials || time.Since(t.began) > trialTime
}

// entry are the rules of the entrypoint.
func (t *trials) entry() []*clause {
	return t.clausesOf(t.target)
}

// clausesOf are the rules that a reference to data asks for, without defaults.
func (t *trials) clausesOf(ref ast.Ref) []*clause {
	var found []*clause
	for _, candidate := range t.clauses {
		if !candidate.rule.Default && (ref.HasPrefix(candidate.ref) || candidate.ref.HasPrefix(ref)) {
			found = append(found, candidate)
		}
	}
	return found
}

// clausesIn are the rules that something written in a clause refers to. Functions are not among them.
func (t *trials) clausesIn(in *clause, node any) []*clause {
	var found []*clause
	add := func(ref ast.Ref) {
		for _, next := range t.clausesOf(ref) {
			if len(next.rule.Head.Args) == 0 && !slices.Contains(found, next) && next != in {
				found = append(found, next)
			}
		}
	}
	ast.WalkTerms(node, func(term *ast.Term) bool {
		switch value := term.Value.(type) {
		case ast.Var:
			if ref := resolve(in.module, ast.Ref{term}); len(ref) > 0 {
				add(ref)
			}
		case ast.Ref:
			if ref := resolve(in.module, value); len(ref) > 0 {
				add(ref.ConstantPrefix())
			}
		}
		return false
	})
	return found
}

// resolve gives the full reference of a name in a module; nil for what is neither of data nor of input.
func resolve(module *ast.Module, ref ast.Ref) ast.Ref {
	if ref[0].Equal(ast.DefaultRootDocument) || ref[0].Equal(ast.InputRootDocument) {
		return ref
	}
	name, isVar := ref[0].Value.(ast.Var)
	if !isVar {
		return nil
	}
	for _, imported := range module.Imports {
		if path, isRef := imported.Path.Value.(ast.Ref); isRef && imported.Name() == name {
			return path.Concat(ref[1:])
		}
	}
	for _, rule := range module.Rules {
		if rule.Head.Ref()[0].Value.Compare(name) == 0 {
			return module.Package.Path.Append(ast.StringTerm(string(name))).Concat(ref[1:])
		}
	}
	return nil
}

// result is how one evaluation ended.
type result struct {
	problems []problem
	message  string
	value    any
	isValue  bool
	text     string
}

// outcome is that of the gate: true, or an object whose `allowed` is true, allows.
func (r result) outcome() string {
	switch {
	case r.message != "" || len(r.problems) > 0:
		return "error"
	case !r.isValue:
		return "undefined"
	}
	if object, isObject := r.value.(map[string]any); isObject && object["allowed"] == true {
		return "allow"
	}
	if r.value == true {
		return "allow"
	}
	return "deny"
}

// flips tells whether the changed policy allows.
func (t *trials) flips(all changes) bool {
	key := all.key()
	known, isKnown := t.known[key]
	if isKnown {
		return known
	}
	if t.isExhausted() {
		return false
	}
	t.count++
	isAllowed := t.evaluate(all, nil).outcome() == "allow"
	t.known[key] = isAllowed
	return isAllowed
}

func (t *trials) evaluate(all changes, tracer *exits) result {
	compiler := newCompiler(t.caps, t.data, false)
	compiler.Compile(t.changed(all))
	if compiler.Failed() {
		return result{problems: fromErrors(compiler.Errors)}
	}
	if len(all) == 0 {
		t.original = compiler
	}
	options := []func(*rego.Rego){
		rego.Compiler(compiler),
		rego.Capabilities(t.caps),
		rego.Store(t.store),
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(t.target)))),
		rego.Input(t.input),
		rego.Time(time.Unix(0, t.req.NowNs)),
		rego.NDBuiltinCache(t.nd),
	}
	if tracer != nil {
		options = append(options, rego.QueryTracer(tracer))
	}
	results, err := rego.New(options...).Eval(t.ctx)
	if err != nil {
		return result{message: err.Error()}
	}
	if len(results) == 0 {
		return result{}
	}
	value := results[0].Expressions[0].Value
	text, err := json.Marshal(value)
	if err != nil {
		return result{message: err.Error()}
	}
	return result{value: value, isValue: true, text: string(text)}
}

// changed gives the modules, of which those with changes are copies.
func (t *trials) changed(all changes) map[string]*ast.Module {
	modules := make(map[string]*ast.Module, len(t.modules))
	for name, module := range t.modules {
		modules[name] = module
	}
	byClause := map[*clause][]int{}
	for _, one := range all {
		if len(byClause[one.clause]) == 0 && modules[one.clause.file] == t.modules[one.clause.file] {
			modules[one.clause.file] = one.clause.module.Copy()
		}
		byClause[one.clause] = append(byClause[one.clause], one.expr)
	}
	for of, dropped := range byClause {
		rule := modules[of.file].Rules[of.index]
		for range of.elses {
			rule = rule.Else
		}
		rule.Body = without(rule.Body, dropped)
	}
	return modules
}

func without(body ast.Body, dropped []int) ast.Body {
	if slices.Contains(dropped, wholeClause) {
		never := body.Copy() // which gives variables of the head their values
		never.Append(ast.NewExpr(ast.BooleanTerm(false)))
		return never
	}
	kept := ast.Body{}
	for i, expr := range body {
		if !slices.Contains(dropped, i) {
			kept.Append(expr)
		}
	}
	if len(kept) == 0 {
		kept.Append(ast.NewExpr(ast.BooleanTerm(true)))
	}
	return kept
}

// Enabled implements topdown.QueryTracer.
func (e *exits) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (e *exits) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

// TraceEvent keeps the first exit of each rule.
func (e *exits) TraceEvent(event topdown.Event) {
	rule, isRule := event.Node.(*ast.Rule)
	if !isRule || event.Op != topdown.ExitOp || rule.Location == nil {
		return
	}
	key := fmt.Sprintf("%s:%d:%d", rule.Location.File, rule.Location.Row, rule.Location.Col)
	if e.held == nil {
		e.held = map[string]*exit{}
	}
	if e.held[key] != nil {
		return
	}
	bindings := map[ast.Var]ast.Value{}
	if event.Locals != nil {
		event.Locals.Iter(func(name, value ast.Value) bool {
			if local, isVar := name.(ast.Var); isVar {
				if named, isKnown := event.LocalMetadata[local]; isKnown {
					local = named.Name
				}
				if value.IsGround() && !local.IsGenerated() && !local.IsWildcard() {
					bindings[local] = value
				}
			}
			return false
		})
	}
	e.held[key] = &exit{bindings: bindings}
}
