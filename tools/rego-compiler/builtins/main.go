// Command builtins is OPA's own builtins as a WASI reactor: what a policy compiled to WASM asks of its host.
//
// Values cross as text: JSON with sets, `{1,2}` and `set()`, and with keys of any type, as opa_value_dump of a compiled
// policy writes and opa_value_parse reads. The host calls `begin` before the first call of an evaluation, then for each
// call `reserve`, writes the name and the arguments there, and `call`; the answer lies at `result`.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

// What an answer begins with.
const (
	// undefined: the builtin failed, or has no value; the expression is undefined.
	undefined byte = iota
	// defined: the text of the value follows.
	defined
	// rawString: the bytes of a string that is not UTF-8 follow.
	rawString
	// fault: a message follows. OPA would have given an answer or stopped: the evaluation must fail.
	fault
	// suspended: a suspension as JSON follows. The evaluation cannot go on without an exchange.
	suspended
)

var (
	request      []byte
	answer       []byte
	evaluation   topdown.BuiltinContext
	startedAt    int64
	capabilities = offlineCapabilities()
)

func init() {
	begin(time.Now().UnixNano())
}

// begin starts an evaluation at a time: what is cached for one evaluation is dropped.
//
//go:wasmexport begin
func begin(now int64) {
	startedAt = now
	forgetExchanges()
	evaluation = topdown.BuiltinContext{
		Context:        context.Background(),
		Seed:           rand.Reader,
		Time:           ast.NumberTerm(int64ToJSONNumber(now)),
		Cancel:         topdown.NewCancel(),
		Cache:          builtins.Cache{},
		NDBuiltinCache: builtins.NDBCache{},
		Capabilities:   capabilities,
	}
}

// reserve returns the address of room for a request.
//
//go:wasmexport reserve
func reserve(size uint32) uint32 {
	if uint32(cap(request)) < size {
		request = make([]byte, size)
	}
	request = request[:size]
	return addressOf(request)
}

// call runs the builtin whose name is the first nameSize bytes of the request, on the arguments that follow as one
// array. It returns the size of the answer.
//
//go:wasmexport call
func call(nameSize uint32) (size uint32) {
	defer func() {
		if cause := recover(); cause != nil {
			size = fail(fmt.Sprint(cause))
		}
	}()
	if recall(startedAt) || recallChance() {
		return uint32(len(answer))
	}
	operands, err := parseOperands(request[nameSize:])
	if err != nil {
		return fail(err.Error())
	}
	name := string(request[:nameSize])
	if name == ast.NetCIDRExpand.Name && isLargeNetwork(operands[0]) {
		return fail("the network has too many addresses")
	}
	builtin := builtinOf(name)
	if builtin == nil {
		return fail("no such builtin")
	}
	answer = append(answer[:0], undefined)
	err = builtin(evaluation, operands, func(value *ast.Term) error {
		answer = appendAnswer(answer[:0], value.Value)
		remember(name, value.Value, startedAt)
		rememberChance(name)
		return nil
	})
	if wanted != nil {
		return suspend()
	}
	var halt topdown.Halt
	if errors.As(err, &halt) {
		return fail(err.Error())
	}
	if err != nil {
		answer = append(answer[:0], undefined)
	}
	return uint32(len(answer))
}

// builtinOf is OPA's, unless it would ask the network itself.
func builtinOf(name string) topdown.BuiltinFunc {
	switch name {
	case ast.HTTPSend.Name:
		return send
	case ast.NetLookupIPAddr.Name:
		return lookUp
	default:
		return topdown.GetBuiltin(name)
	}
}

// result returns the address of the answer.
//
//go:wasmexport result
func result() uint32 {
	return addressOf(answer)
}

// maxHostBits of a network that is listed address by address: more would fill the memory, slowly.
const maxHostBits = 16

func isLargeNetwork(operand *ast.Term) bool {
	text, isString := operand.Value.(ast.String)
	if !isString {
		return false
	}
	_, network, err := net.ParseCIDR(string(text))
	if err != nil {
		return false
	}
	ones, bits := network.Mask.Size()
	return bits-ones > maxHostBits
}

func appendAnswer(to []byte, value ast.Value) []byte {
	if text, isString := value.(ast.String); isString && !utf8.ValidString(string(text)) {
		return append(append(to, rawString), text...)
	}
	return appendValue(append(to, defined), value)
}

func fail(message string) uint32 {
	answer = append(append(answer[:0], fault), message...)
	return uint32(len(answer))
}

func addressOf(bytes []byte) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(bytes))))
}

func main() {}

// offlineCapabilities let no JSON schema refer to a host.
func offlineCapabilities() *ast.Capabilities {
	capabilities := ast.CapabilitiesForThisVersion()
	capabilities.AllowNet = []string{}
	return capabilities
}
