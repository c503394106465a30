package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// finding is what a policy does that compiles and is probably not meant.
type finding struct {
	problem
	// Remedy says what to do.
	Remedy string `json:"remedy"`
}

// literal is a text in a policy that begins with spiffe://.
type literal struct {
	Text   string `json:"text"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	// IsPrefix tells that other texts are compared with its beginning, or that it is a pattern.
	IsPrefix bool `json:"isPrefix"`
}

// check looks at a policy that build takes: what OPA's strict mode, its type checker with a schema of the input, and we know
// about it.
func check(ctx context.Context, req request) response {
	built := build(ctx, req)
	if !built.OK {
		return built
	}
	caps := offeredCapabilities(req.Builtins)
	modules, _ := parseModules(req.Modules, caps)
	data, _ := mergeDocuments(req.Data)
	compiler := newCompiler(caps, data, false)
	aliases := findAliases(compiler)
	compiler.Compile(copyModules(modules))
	refs, _ := parseEntrypoints(req.Entrypoints)
	res := response{OK: true, Warnings: built.Warnings, Literals: literalsOf(modules)}
	unknown, err := unknownInputs(caps, data, modules, req.Schema)
	if err != nil {
		return failed(problem{Code: "schema_invalid", Message: err.Error()})
	}
	for _, found := range [][]finding{
		unknown,
		withoutDefault(compiler, refs, req.Entrypoints),
		unreached(compiler, refs),
		unverified(compiler, aliases),
		askingNetwork(compiler),
	} {
		res.Findings = append(res.Findings, found...)
	}
	return res
}

func at(location *ast.Location, code, message, remedy string) finding {
	found := finding{problem: problem{Code: code, Message: message}, Remedy: remedy}
	if location != nil {
		found.File, found.Line, found.Column = location.File, location.Row, location.Col
	}
	return found
}

// unknownInputs are the mistakes of the type checker that it finds only when it knows what the input looks like.
func unknownInputs(caps *ast.Capabilities, data map[string]any, modules map[string]*ast.Module, text string) ([]finding, error) {
	var schema any
	if err := util.UnmarshalJSON([]byte(text), &schema); err != nil {
		return nil, err
	}
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, schema)
	compiler := newCompiler(caps, data, false).WithSchemas(schemas)
	compiler.Compile(copyModules(modules))
	var findings []finding
	for _, found := range compiler.Errors {
		var detail *ast.RefErrInvalidDetail
		if isRef(found.Details, &detail) && detail.Ref[0].Equal(ast.InputRootDocument) {
			findings = append(findings, unknownInput(found.Location, detail))
			continue
		}
		message := found.Message
		if found.Details != nil {
			message += " (" + strings.Join(trimmed(found.Details.Lines()), "; ") + ")"
		}
		findings = append(findings, at(found.Location, "input_type", message,
			"The input never has a value of this type there: see `svidgate policy check --schema`."))
	}
	return findings, nil
}

func isRef(details ast.ErrorDetails, into **ast.RefErrInvalidDetail) bool {
	detail, isRef := details.(*ast.RefErrInvalidDetail)
	*into = detail
	return isRef
}

func trimmed(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" && line != "^" {
			kept = append(kept, line)
		}
	}
	return kept
}

func unknownInput(location *ast.Location, detail *ast.RefErrInvalidDetail) finding {
	var known []string
	for _, value := range detail.OneOf {
		known = append(known, strings.Trim(value.String(), `"`))
	}
	slices.Sort(known)
	message := fmt.Sprintf("%s is never there", detail.Ref[:detail.Pos+1])
	remedy := "See `svidgate policy check --schema` for what the input holds."
	if len(known) > 0 {
		remedy = fmt.Sprintf("There are: %s.", strings.Join(known, ", "))
	}
	return at(location, "input_unknown", message, remedy)
}

// withoutDefault finds entrypoints that are undefined where no rule holds, or allowed.
func withoutDefault(compiler *ast.Compiler, refs []ast.Ref, entrypoints []string) []finding {
	var findings []finding
	for i, ref := range refs {
		rules := compiler.GetRulesExact(ref)
		if len(rules) == 0 {
			continue // a package: its rules are fields
		}
		hasDefault := false
		for _, rule := range rules {
			if !rule.Default {
				continue
			}
			hasDefault = true
			if rule.Head.Value.Equal(ast.BooleanTerm(true)) || allowsByDefault(rule.Head.Value) {
				findings = append(findings, at(rule.Location, "default_allows",
					fmt.Sprintf("the entrypoint %s allows what no rule is about", entrypoints[i]),
					"Write `default "+string(rule.Head.Name)+" := false`, and rules for what is allowed."))
			}
		}
		if !hasDefault {
			findings = append(findings, at(rules[0].Location, "default_missing",
				fmt.Sprintf("the entrypoint %s is undefined where no rule holds", entrypoints[i]),
				"Write `default "+string(rules[0].Head.Ref().GroundPrefix().String())+
					" := false`: an undefined decision is denied, but as a failure of the policy."))
		}
	}
	return findings
}

func allowsByDefault(value *ast.Term) bool {
	object, isObject := value.Value.(ast.Object)
	return isObject && ast.BooleanTerm(true).Equal(object.Get(ast.StringTerm("allowed")))
}

// unreached finds rules that no entrypoint refers to, straight or through others. OPA asks for data.system itself.
func unreached(compiler *ast.Compiler, refs []ast.Ref) []finding {
	reached := map[*ast.Rule]bool{}
	var visit func(rule *ast.Rule)
	visit = func(rule *ast.Rule) {
		for ; rule != nil && !reached[rule]; rule = rule.Else {
			reached[rule] = true
			for next := range compiler.Graph.Dependencies(rule) {
				visit(next.(*ast.Rule))
			}
		}
	}
	for _, ref := range refs {
		for _, rule := range compiler.GetRules(ref) {
			visit(rule)
		}
	}
	for _, annotated := range compiler.GetAnnotationSet().Flatten() {
		if annotated.Annotations.Entrypoint {
			for _, rule := range compiler.GetRules(annotated.Path) {
				visit(rule)
			}
		}
	}
	for _, rule := range compiler.GetRules(ast.MustParseRef("data.system")) {
		visit(rule)
	}
	var findings []finding
	named := map[string]bool{}
	for _, name := range sortedKeys(compiler.Modules) {
		for _, rule := range compiler.Modules[name].Rules {
			if ref := rule.Ref().GroundPrefix().String(); !reached[rule] && !named[ref] {
				named[ref] = true
				findings = append(findings, at(rule.Location, "rule_unreached",
					fmt.Sprintf("nothing that decides refers to %s", strings.TrimPrefix(ref, "data.")),
					"Remove it, or refer to it where it was meant to count."))
			}
		}
	}
	return findings
}

const (
	claimed     = "whoever reaches this Envoy may have written it: nobody verified it against the trust bundles"
	useVerified = "Use input.svidgate.peer.spiffe_id where input.svidgate.peer.verified == true."
)

// inputKeys are the keys below the input that a reference begins with, also where a rule stands for a part of the input; nil
// where it is about something else.
func inputKeys(ref ast.Ref, aliases map[string]alias) []string {
	path, _ := constantPath(ref)
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		path = path[1:]
	case ref[0].Equal(ast.DefaultRootDocument):
		found := false
		for _, one := range aliases {
			if isPrefix(one.path, path) {
				path, found = slices.Concat(one.target, path[len(one.path):]), true
				break
			}
		}
		if !found {
			return nil
		}
	default:
		return nil
	}
	keys := []string{}
	for _, step := range path {
		keys = append(keys, strings.TrimPrefix(step, textStep))
	}
	return keys
}

func beginsWith(keys []string, wanted ...string) bool {
	return len(keys) >= len(wanted) && slices.Equal(keys[:len(wanted)], wanted)
}

// unverified finds what looks like an identity and is not, or not by itself. It looks at compiled modules, in which imports
// are resolved.
func unverified(compiler *ast.Compiler, aliases map[string]alias) []finding {
	var findings []finding
	note := func(location *ast.Location, what, remedy string) {
		findings = append(findings, at(location, "identity_unverified", what, remedy))
	}
	verifies := callsVerification(compiler)
	asksVerified := asksWhetherVerified(compiler, aliases)
	for _, name := range sortedKeys(compiler.Modules) {
		ast.WalkRefs(compiler.Modules[name], func(ref ast.Ref) bool {
			location := ref[0].Location
			keys := inputKeys(ref, aliases)
			switch {
			case beginsWith(keys, "source_principal"):
				note(location, "input.source_principal is what Envoy read from a certificate: "+claimed, useVerified)
			case beginsWith(keys, "attributes", "source", "principal"), beginsWith(keys, "attributes", "source", "certificate"):
				note(location, "input."+strings.Join(keys[:3], ".")+" is what the other side presented: "+claimed, useVerified)
			case len(keys) > 4 && beginsWith(keys, "attributes", "request", "http", "headers") &&
				strings.EqualFold(keys[4], "x-forwarded-client-cert"):
				note(location, "the header x-forwarded-client-cert is text of the request: "+claimed,
					"Use input.svidgate.xfcc, which names clients that trusted proxies forward, where its `verified == true`.")
			case beginsWith(keys, "svidgate", "peer", "spiffe_id") && !asksVerified:
				note(location, "input.svidgate.peer.spiffe_id is read, and input.svidgate.peer.verified nowhere",
					"Ask for input.svidgate.peer.verified == true beside it: the policy then says what it relies on.")
			case ref.String() == "io.jwt.decode" && !verifies:
				note(location, "io.jwt.decode reads a token that nobody verified",
					"Use input.svidgate.jwt.claims where input.svidgate.jwt.verified == true, or io.jwt.decode_verify.")
			}
			return false
		})
	}
	return slices.CompactFunc(findings, func(one, other finding) bool { return one == other })
}

// asksWhetherVerified also holds where the peer, or all of it, is taken as a whole: it may be asked there.
func asksWhetherVerified(compiler *ast.Compiler, aliases map[string]alias) bool {
	found := false
	for _, module := range compiler.Modules {
		ast.WalkRules(module, func(rule *ast.Rule) bool {
			path, isPlain := constantPath(rule.Ref())
			if _, isAlias := aliases[pathKey(path)]; isPlain && isAlias {
				return true
			}
			ast.WalkRefs(rule, func(ref ast.Ref) bool {
				keys := inputKeys(ref, aliases)
				wanted := []string{"svidgate", "peer", "verified"}
				found = found || keys != nil && beginsWith(wanted, keys[:min(len(keys), 3)]...)
				return false
			})
			return false
		})
	}
	return found
}

func callsVerification(compiler *ast.Compiler) bool {
	found := false
	for _, module := range compiler.Modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			name := ref.String()
			found = found || name == "io.jwt.decode_verify" || strings.HasPrefix(name, "io.jwt.verify_")
			return false
		})
	}
	return found
}

func askingNetwork(compiler *ast.Compiler) []finding {
	var findings []finding
	for _, name := range sortedKeys(compiler.Modules) {
		ast.WalkRefs(compiler.Modules[name], func(ref ast.Ref) bool {
			if called := ref.String(); called == "http.send" || called == "net.lookup_ip_addr" {
				findings = append(findings, at(ref[0].Location, "asks_network",
					called+" makes decisions wait for others, and fail with them",
					"Put what the decision needs into data; `authz.http_send` names whom a policy may ask."))
			}
			return false
		})
	}
	return findings
}

const spiffeScheme = "spiffe://"

// prefixCalls compare the beginning of a text, or match a pattern.
var prefixCalls = []string{"startswith", "strings.any_prefix_match", "glob.match", "regex.match", "trim_prefix", "sprintf", "concat"}

func literalsOf(modules map[string]*ast.Module) []literal {
	var literals []literal
	for _, name := range sortedKeys(modules) {
		prefixes := map[*ast.Term]bool{}
		ast.WalkTerms(modules[name], func(term *ast.Term) bool {
			if call, isCall := term.Value.(ast.Call); isCall {
				markPrefixes(call[0].String(), call[1:], prefixes)
			}
			return false
		})
		ast.WalkExprs(modules[name], func(expr *ast.Expr) bool {
			if expr.IsCall() {
				markPrefixes(expr.Operator().String(), expr.Operands(), prefixes)
			}
			return false
		})
		ast.WalkTerms(modules[name], func(term *ast.Term) bool {
			text, isText := term.Value.(ast.String)
			if isText && strings.HasPrefix(string(text), spiffeScheme) && term.Location != nil {
				literals = append(literals, literal{Text: string(text), File: name, Line: term.Location.Row,
					Column: term.Location.Col, IsPrefix: prefixes[term]})
			}
			return false
		})
	}
	return literals
}

func markPrefixes(called string, operands []*ast.Term, prefixes map[*ast.Term]bool) {
	if !slices.Contains(prefixCalls, called) {
		return
	}
	for _, operand := range operands {
		ast.WalkTerms(operand, func(term *ast.Term) bool {
			prefixes[term] = true
			return false
		})
	}
}
