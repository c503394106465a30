package main

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

// This program has no network. A builtin that needs an answer from it names the exchange that it wants, and the host
// gives the evaluation up, makes the exchange, and evaluates once more with the answer.

// exchangeAnswer is how an exchange ended. Fault is empty where it was answered.
type exchangeAnswer struct {
	// Fault says what went wrong, without anything of the request but its origin.
	Fault string `json:"fault"`
	// Reason is "timeout", "refused" or "failed".
	Reason     string      `json:"reason"`
	Status     string      `json:"status"`
	StatusCode int         `json:"statusCode"`
	Headers    [][2]string `json:"headers"`
	Body       []byte      `json:"body"`
	Addresses  []string    `json:"addresses"`
}

// suspension is what an evaluation that was given up needs to go on: the exchange, and what chance gave so far.
type suspension struct {
	Wanted string            `json:"wanted"`
	Chance map[string][]byte `json:"chance"`
}

// resumption is what an evaluation goes on with.
type resumption struct {
	Exchanges []struct {
		Request string         `json:"request"`
		Answer  exchangeAnswer `json:"answer"`
	} `json:"exchanges"`
	Chance map[string][]byte `json:"chance"`
}

var (
	// exchanges that the host has made for this evaluation, by the text of the request.
	exchanges = map[string]exchangeAnswer{}
	// wanted is the request of the exchange that the evaluation cannot go on without.
	wanted []byte
	// chance holds answers of this evaluation that would be others the next time, by the text of the call.
	chance = map[string][]byte{}

	errWanted = errors.New("the answer is not there yet")
)

// byChance are the builtins that may answer the same arguments otherwise when the evaluation is run once more. The time
// is the host's.
var byChance = []string{
	ast.RandIntn.Name, ast.UUIDRFC4122.Name, ast.JWTEncodeSign.Name, ast.JWTEncodeSignRaw.Name,
	ast.CryptoX509ParseAndVerifyCertificates.Name, ast.CryptoX509ParseAndVerifyCertificatesWithOptions.Name,
}

// resume gives what an evaluation goes on with: a resumption as JSON, all of the request. Call it after begin. It
// returns 0, or the size of a fault.
//
//go:wasmexport resume
func resume() uint32 {
	var given resumption
	if err := json.Unmarshal(request, &given); err != nil {
		return fail("what the evaluation goes on with is not well-formed")
	}
	for _, exchange := range given.Exchanges {
		exchanges[exchange.Request] = exchange.Answer
	}
	for call, answer := range given.Chance {
		chance[call] = answer
	}
	return 0
}

// limitResponses bounds what http.send keeps from one evaluation to the next.
//
//go:wasmexport limitResponses
func limitResponses(bytes uint32) {
	responses = newResponseCache(int(bytes))
}

func forgetExchanges() {
	clear(exchanges)
	clear(chance)
	wanted = nil
	responses.commit()
}

// exchange gives the answer to a request, or errWanted.
func exchange(asked any) (exchangeAnswer, error) {
	text, err := json.Marshal(asked)
	if err != nil {
		return exchangeAnswer{}, err
	}
	if answer, known := exchanges[string(text)]; known {
		return answer, nil
	}
	wanted = text
	return exchangeAnswer{}, errWanted
}

// suspend is the answer of a call that wants an exchange.
func suspend() uint32 {
	responses.rollBack()
	text, err := json.Marshal(suspension{Wanted: string(wanted), Chance: chance})
	wanted = nil
	if err != nil {
		return fail(err.Error())
	}
	answer = append(append(answer[:0], suspended), text...)
	return uint32(len(answer))
}

func recallChance() bool {
	found, known := chance[latin1(string(request))]
	if known {
		answer = append(answer[:0], found...)
	}
	return known
}

func rememberChance(name string) {
	if slices.Contains(byChance, name) {
		chance[latin1(string(request))] = slices.Clone(answer)
	}
}

// latin1 makes each byte a character, so that JSON keeps those that are not UTF-8.
func latin1(bytes string) string {
	runes := make([]rune, len(bytes))
	for i := range len(bytes) {
		runes[i] = rune(bytes[i])
	}
	return string(runes)
}

// bytesOf undoes latin1.
func bytesOf(text string) string {
	bytes := make([]byte, 0, len(text))
	for _, character := range text {
		bytes = append(bytes, byte(character))
	}
	return string(bytes)
}

type lookupRequest struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// lookUp is net.lookup_ip_addr. A name without addresses is undefined, as in OPA; a name that may not be asked for, or
// a resolver that does not answer, ends the evaluation.
func lookUp(_ topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
	name, err := builtins.StringOperand(operands[0].Value, 1)
	if err != nil {
		return err
	}
	found, err := exchange(lookupRequest{Kind: "lookup", Name: latin1(string(name))})
	if err != nil {
		return err
	}
	if found.Fault != "" && found.Reason != "failed" {
		return topdown.Halt{Err: errors.New(found.Fault)}
	}
	if found.Fault != "" {
		return errors.New(found.Fault)
	}
	addresses := ast.NewSet()
	for _, address := range found.Addresses {
		addresses.Add(ast.StringTerm(address))
	}
	return iter(ast.NewTerm(addresses))
}
