package main

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
	"github.com/open-policy-agent/opa/v1/topdown/print"
	"github.com/open-policy-agent/opa/v1/util"
)

// recordedAnswers are what builtins answered in an earlier evaluation: by name and the Rego text of the list of their
// arguments, the JSON text of the answer.
func recordedAnswers(nd map[string]map[string]string) (builtins.NDBCache, error) {
	cache := builtins.NDBCache{}
	for _, name := range sortedKeys(nd) {
		for _, key := range sortedKeys(nd[name]) {
			arguments, err := ast.ParseTerm(key)
			if err != nil {
				return nil, fmt.Errorf("the arguments of %s that were recorded are no value", name)
			}
			if nd[name][key] == "" {
				continue // it was undefined, as it will be again
			}
			var answer any
			if err := util.UnmarshalJSON([]byte(nd[name][key]), &answer); err != nil {
				return nil, fmt.Errorf("the answer of %s that was recorded is not JSON", name)
			}
			value, err := ast.InterfaceToValue(answer)
			if err != nil {
				return nil, err
			}
			// JSON has no sets.
			if list, isList := value.(*ast.Array); isList && name == "net.lookup_ip_addr" {
				set := ast.NewSet()
				list.Foreach(set.Add)
				value = set
			}
			cache.Put(name, arguments.Value, value)
		}
	}
	return cache, nil
}

// printLines are what print() wrote, each with its place.
type printLines []string

// The policy decides how much it prints, and the answer holds it all.
const maxPrintLines = 1000

// Print implements print.Hook.
func (lines *printLines) Print(context print.Context, text string) error {
	if len(*lines) >= maxPrintLines {
		return nil
	}
	if context.Location != nil {
		text = fmt.Sprintf("%s:%d: %s", context.Location.File, context.Location.Row, text)
	}
	*lines = append(*lines, text)
	return nil
}
