package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

// maxDepth of arguments: deeper ones may end the stack, and with it the program.
const maxDepth = 1000

var errValue = errors.New("the arguments are not well-formed")

func int64ToJSONNumber(value int64) json.Number {
	return json.Number(strconv.FormatInt(value, 10))
}

// parseOperands reads an array.
func parseOperands(text []byte) ([]*ast.Term, error) {
	p := parser{text: text}
	value, err := p.value(0)
	if err != nil {
		return nil, err
	}
	array, isArray := value.Value.(*ast.Array)
	if !isArray || p.at != len(p.text) {
		return nil, errValue
	}
	operands := make([]*ast.Term, array.Len())
	for i := range operands {
		operands[i] = array.Elem(i)
	}
	return operands, nil
}

// parser reads what opa_value_dump writes: one space after commas and colons, and strings that may not be UTF-8.
type parser struct {
	text []byte
	at   int
}

func (p *parser) value(depth int) (*ast.Term, error) {
	if p.at >= len(p.text) || depth > maxDepth {
		return nil, errValue
	}
	switch c := p.text[p.at]; {
	case c == '"':
		text, err := p.str()
		return ast.StringTerm(text), err
	case c == '[':
		return p.array(depth)
	case c == '{':
		return p.objectOrSet(depth)
	case c == 'n':
		return ast.NullTerm(), p.atom("null")
	case c == 't':
		return ast.BooleanTerm(true), p.atom("true")
	case c == 'f':
		return ast.BooleanTerm(false), p.atom("false")
	case c == 's':
		return ast.SetTerm(), p.atom("set()")
	case c == '-' || c == '.' || c >= '0' && c <= '9':
		return p.number(), nil
	default:
		return nil, errValue
	}
}

func (p *parser) atom(name string) error {
	if len(p.text)-p.at < len(name) || string(p.text[p.at:p.at+len(name)]) != name {
		return errValue
	}
	p.at += len(name)
	return nil
}

// next is true when the byte comes next, which is then read, with the space after it.
func (p *parser) next(c byte) bool {
	if p.at >= len(p.text) || p.text[p.at] != c {
		return false
	}
	p.at++
	if p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
	return true
}

func (p *parser) number() *ast.Term {
	from := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		p.at++
	}
	return ast.NumberTerm(json.Number(p.text[from:p.at]))
}

func (p *parser) str() (string, error) {
	from := p.at + 1
	for i := from; i < len(p.text); i++ {
		switch p.text[i] {
		case '"':
			p.at = i + 1
			return string(p.text[from:i]), nil
		case '\\':
			return p.escapedString(from, i)
		}
	}
	return "", errValue
}

var escapes = map[byte]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// escapedString goes on at the first escape. Only control characters come as \u.
func (p *parser) escapedString(from, at int) (string, error) {
	out := append(make([]byte, 0, at-from+16), p.text[from:at]...)
	for at < len(p.text) {
		c := p.text[at]
		switch {
		case c == '"':
			p.at = at + 1
			return string(out), nil
		case c != '\\':
			out = append(out, c)
			at++
		case at+1 >= len(p.text):
			return "", errValue
		case p.text[at+1] == 'u':
			if at+6 > len(p.text) {
				return "", errValue
			}
			code, err := strconv.ParseUint(string(p.text[at+2:at+6]), 16, 16)
			if err != nil {
				return "", errValue
			}
			out = utf8.AppendRune(out, rune(code))
			at += 6
		default:
			escaped, known := escapes[p.text[at+1]]
			if !known {
				return "", errValue
			}
			out = append(out, escaped)
			at += 2
		}
	}
	return "", errValue
}

func (p *parser) array(depth int) (*ast.Term, error) {
	p.at++
	var elements []*ast.Term
	if p.next(']') {
		return ast.ArrayTerm(), nil
	}
	for {
		element, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
		if p.next(']') {
			return ast.ArrayTerm(elements...), nil
		}
		if !p.next(',') {
			return nil, errValue
		}
	}
}

func (p *parser) objectOrSet(depth int) (*ast.Term, error) {
	p.at++
	if p.next('}') {
		return ast.ObjectTerm(), nil
	}
	first, err := p.value(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.next(':') {
		return p.setFrom(first, depth)
	}
	object := ast.NewObject()
	for key := first; ; {
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		object.Insert(key, value)
		if p.next('}') {
			return ast.NewTerm(object), nil
		}
		if !p.next(',') {
			return nil, errValue
		}
		if key, err = p.value(depth + 1); err != nil {
			return nil, err
		}
		if !p.next(':') {
			return nil, errValue
		}
	}
}

func (p *parser) setFrom(first *ast.Term, depth int) (*ast.Term, error) {
	elements := []*ast.Term{first}
	for !p.next('}') {
		if !p.next(',') {
			return nil, errValue
		}
		element, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	return ast.SetTerm(elements...), nil
}

// appendValue writes what opa_value_parse reads.
func appendValue(to []byte, value ast.Value) []byte {
	switch v := value.(type) {
	case ast.Null:
		return append(to, "null"...)
	case ast.Boolean:
		return strconv.AppendBool(to, bool(v))
	case ast.Number:
		return appendNumber(to, string(v))
	case ast.String:
		return appendString(to, string(v))
	case *ast.Array:
		to = append(to, '[')
		for i := range v.Len() {
			to = appendSeparator(to, i)
			to = appendValue(to, v.Elem(i).Value)
		}
		return append(to, ']')
	case ast.Object:
		to = append(to, '{')
		for i, key := range v.Keys() {
			to = appendSeparator(to, i)
			to = append(appendValue(to, key.Value), ':')
			to = appendValue(to, v.Get(key).Value)
		}
		return append(to, '}')
	case ast.Set:
		if v.Len() == 0 {
			return append(to, "set()"...)
		}
		to = append(to, '{')
		for i, element := range v.Slice() {
			to = appendSeparator(to, i)
			to = appendValue(to, element.Value)
		}
		return append(to, '}')
	default:
		panic(fmt.Sprintf("a value of type %T", value))
	}
}

func appendSeparator(to []byte, i int) []byte {
	if i == 0 {
		return to
	}
	return append(to, ',')
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// appendNumber writes numbers in JSON's form. OPA has others: .5 in a policy, 007 and 0x1F from to_number.
func appendNumber(to []byte, text string) []byte {
	if jsonNumber.MatchString(text) {
		return append(to, text...)
	}
	if whole, isWhole := new(big.Int).SetString(text, 10); isWhole {
		return whole.Append(to, 10)
	}
	number, isNumber := new(big.Float).SetString(text)
	if !isNumber || number.IsInf() {
		panic("a number that is none")
	}
	return append(to, builtins.FloatToNumber(number)...)
}

const hexDigits = "0123456789abcdef"

func appendString(to []byte, text string) []byte {
	if !utf8.ValidString(text) {
		panic("a string that is not UTF-8 inside of a value")
	}
	to = append(to, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			to = append(to, '\\', c)
		case c < ' ':
			to = append(to, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			to = append(to, c)
		}
	}
	return append(to, '"')
}
