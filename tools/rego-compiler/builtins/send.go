package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// sendRequest is one HTTP request as the host is to send it. Texts have a character for each byte.
type sendRequest struct {
	Kind   string `json:"kind"`
	Method string `json:"method"`
	Scheme string `json:"scheme"`
	// Host is that of the URL, with its port.
	Host string `json:"host"`
	Path string `json:"path"`
	// HostHeader is empty where it is Host.
	HostHeader string      `json:"hostHeader"`
	Headers    [][2]string `json:"headers"`
	Body       []byte      `json:"body"`
	// TimeoutMs is 0 where the policy names none.
	TimeoutMs float64     `json:"timeoutMs"`
	Retries   int         `json:"retries"`
	TLS       sendOptions `json:"tls"`
}

type sendOptions struct {
	// CA is PEM; it stands alone unless UsesSystemCerts.
	CA              string `json:"ca"`
	UsesSystemCerts bool   `json:"usesSystemCerts"`
	Cert            string `json:"cert"`
	Key             string `json:"key"`
	ServerName      string `json:"serverName"`
}

// refusedKeys of a request: what would reach files or the environment of the server, or trust anybody.
var refusedKeys = []string{
	"tls_ca_cert_file", "tls_ca_cert_env_variable", "tls_client_cert_file", "tls_client_cert_env_variable",
	"tls_client_key_file", "tls_client_key_env_variable",
}

// send is OPA's http.send over exchanges. What OPA would do in time (waiting, repeating) is left to the host. An error
// ends the evaluation, where OPA makes it undefined: `not` of that would be true.
func send(evaluation topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
	operand, isObject := operands[0].Value.(ast.Object)
	if !isObject {
		return topdown.Halt{Err: errors.New("http.send: the request is not an object")}
	}
	trip := &roundTripper{}
	given, err := trip.take(operand)
	if err != nil {
		return raise(operand, err, iter)
	}
	canceled, cancel := context.WithCancel(context.Background())
	defer cancel()
	evaluation.Context = canceled
	evaluation.Capabilities = nil // the host knows who may be asked
	evaluation.Metrics = metrics.NoOp()
	evaluation.InterQueryBuiltinCache = responses
	evaluation.RoundTripper = func(*http.Transport) http.RoundTripper { return trip }
	err = topdown.GetBuiltin(ast.HTTPSend.Name)(evaluation, []*ast.Term{ast.NewTerm(given)}, func(value *ast.Term) error {
		return iter(withoutQuery(value))
	})
	if err != nil && wanted == nil {
		return topdown.Halt{Err: errors.New(describe(err))}
	}
	return err
}

// raise tells an error as OPA does.
func raise(operand ast.Object, err error, iter func(*ast.Term) error) error {
	if value := operand.Get(ast.StringTerm("raise_error")); value == nil || !value.Equal(ast.BooleanTerm(false)) {
		return topdown.Halt{Err: fmt.Errorf("http.send: %w", err)}
	}
	return iter(ast.ObjectTerm(
		ast.Item(ast.StringTerm("status_code"), ast.NumberTerm("0")),
		ast.Item(ast.StringTerm("error"), ast.ObjectTerm(
			ast.Item(ast.StringTerm("code"), ast.StringTerm(topdown.HTTPSendInternalErr)),
			ast.Item(ast.StringTerm("message"), ast.StringTerm("http.send: "+err.Error())),
		)),
	))
}

type roundTripper struct {
	timeoutMs float64
	retries   int
	tls       sendOptions
}

// take gives the request without what the host does. What is not as it should be stays, for OPA to say so.
func (t *roundTripper) take(operand ast.Object) (ast.Object, error) {
	left := ast.NewObject()
	for _, key := range operand.Keys() {
		name, _ := key.Value.(ast.String)
		value := operand.Get(key)
		if slices.Contains(refusedKeys, string(name)) {
			return nil, fmt.Errorf("%s is not offered: give the PEM itself", string(name))
		}
		if name == "tls_insecure_skip_verify" && !value.Equal(ast.BooleanTerm(false)) {
			return nil, fmt.Errorf("%s is not offered", string(name))
		}
		if !t.takeField(string(name), value.Value) {
			left.Insert(key, value)
		}
	}
	return left, nil
}

// takeField is true where OPA is not to see the field.
func (t *roundTripper) takeField(name string, value ast.Value) bool {
	text, isText := value.(ast.String)
	plain := strings.Trim(string(text), `"`)
	switch name {
	case "timeout":
		// OPA would set a timer. No timer runs while this program does nothing.
		timeout, known := parseTimeout(value)
		if known {
			t.timeoutMs = max(0, float64(timeout)/float64(time.Millisecond))
		}
		return known
	case "max_retry_attempts":
		number, _ := value.(ast.Number)
		retries, known := number.Int()
		if known && retries >= 0 {
			t.retries = retries
		}
		return known && retries >= 0
	case "caching_mode":
		return isText && (text == "serialized" || text == "deserialized")
	case "tls_use_system_certs":
		uses, known := value.(ast.Boolean)
		t.tls.UsesSystemCerts = bool(uses)
		return known
	case "tls_ca_cert":
		t.tls.CA = strings.ReplaceAll(plain, `\n`, "\n")
	case "tls_client_cert":
		t.tls.Cert = plain
	case "tls_client_key":
		t.tls.Key = plain
	case "tls_server_name":
		t.tls.ServerName = plain
	}
	return false
}

func parseTimeout(value ast.Value) (time.Duration, bool) {
	switch timeout := value.(type) {
	case ast.Number:
		nanoseconds, isInteger := timeout.Int64()
		return time.Duration(nanoseconds), isInteger
	case ast.String:
		if nanoseconds, isInteger := util.Atoi64(string(timeout)); isInteger {
			return time.Duration(nanoseconds), true
		}
		duration, err := time.ParseDuration(string(timeout))
		return duration, err == nil
	default:
		return 0, false
	}
}

// RoundTrip is called for each hop.
func (t *roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := checkURL(request.URL); err != nil {
		return nil, err
	}
	var body []byte
	if request.Body != nil {
		defer request.Body.Close()
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	asked := sendRequest{
		Kind: "http", Method: latin1(request.Method), Scheme: request.URL.Scheme, Host: latin1(request.URL.Host),
		Path: latin1(request.URL.RequestURI()), Headers: headersOf(request.Header), Body: body,
		TimeoutMs: t.timeoutMs, Retries: t.retries, TLS: t.tls,
	}
	if request.Host != request.URL.Host {
		asked.HostHeader = latin1(request.Host)
	}
	found, err := exchange(asked)
	if err != nil {
		return nil, err
	}
	if found.Fault != "" {
		return nil, errors.New(found.Fault)
	}
	response := &http.Response{
		Status: bytesOf(found.Status), StatusCode: found.StatusCode, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(found.Body)), ContentLength: int64(len(found.Body)),
		Request: request,
	}
	for _, header := range found.Headers {
		response.Header.Add(bytesOf(header[0]), bytesOf(header[1]))
	}
	return response, nil
}

func checkURL(target *url.URL) error {
	switch {
	case target.Scheme != "http" && target.Scheme != "https":
		return fmt.Errorf("unsupported protocol scheme %q", target.Scheme)
	case target.Host == "" || target.Opaque != "":
		return errors.New("http: no Host in request URL")
	case target.User != nil:
		return errors.New("the URL has credentials")
	}
	return nil
}

// headersOf are in the order of their names.
func headersOf(headers http.Header) [][2]string {
	var all [][2]string
	for name, values := range headers {
		for _, value := range values {
			all = append(all, [2]string{latin1(name), latin1(value)})
		}
	}
	slices.SortFunc(all, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return all
}

var (
	queryInMessage = regexp.MustCompile(`[?#][^"\s]*`)
	userInMessage  = regexp.MustCompile(`//[^"/\s]*@`)
)

// describe is an error for the log: nothing of the request but where it went.
func describe(err error) string {
	var failure *url.Error
	switch {
	case errors.As(err, &failure) && failure.Op == "parse":
		return "http.send: the URL is not valid"
	case errors.As(err, &failure):
		target, parseErr := url.Parse(failure.URL)
		if parseErr != nil {
			return "http.send: the URL is not valid"
		}
		return fmt.Sprintf("http.send to %s://%s: %v", target.Scheme, target.Host, failure.Err)
	case strings.Contains(err.Error(), "headers value"):
		return "http.send: the value of a header is not a string"
	default:
		return withoutSecrets(err.Error())
	}
}

func withoutSecrets(message string) string {
	return userInMessage.ReplaceAllString(queryInMessage.ReplaceAllString(message, ""), "//")
}

// withoutQuery takes the query out of an error that is given to the policy: it may hold secrets, and end in a log.
func withoutQuery(value *ast.Term) *ast.Term {
	result, isObject := value.Value.(ast.Object)
	if !isObject {
		return value
	}
	failure := result.Get(ast.StringTerm("error"))
	if failure == nil {
		return value
	}
	code := failure.Get(ast.StringTerm("code"))
	message, isText := failure.Get(ast.StringTerm("message")).Value.(ast.String)
	if !isText {
		return value
	}
	return ast.ObjectTerm(
		ast.Item(ast.StringTerm("status_code"), ast.NumberTerm("0")),
		ast.Item(ast.StringTerm("error"), ast.ObjectTerm(
			ast.Item(ast.StringTerm("code"), code),
			ast.Item(ast.StringTerm("message"), ast.StringTerm(withoutSecrets(string(message)))),
		)),
	)
}
