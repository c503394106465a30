// Judges SPIFFE vectors with go-spiffe: one JSON object a line on the standard input, one verdict a line on the output.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"sort"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// A vector of one kind; the others' members are absent.
type vector struct {
	Kind string `json:"kind"`
	// id, trust_domain, jwt, bundle
	Text string `json:"text"`
	// x509: DER, leaf first
	Chain [][]byte `json:"chain"`
	// x509: DER by trust domain
	Roots map[string][][]byte `json:"roots"`
	// jwt: bundles in SPIFFE JSON by trust domain
	Bundles  map[string]string `json:"bundles"`
	Audience []string          `json:"audience"`
}

type verdict struct {
	Accepts bool   `json:"accepts"`
	Reason  string `json:"reason,omitempty"`
	// The SPIFFE ID, or the content of a bundle.
	Value any `json:"value,omitempty"`
}

type bundleContent struct {
	X509Authorities int      `json:"x509Authorities"`
	KeyIDs          []string `json:"keyIds"`
	Sequence        uint64   `json:"sequence"`
}

func judge(v vector) (any, error) {
	switch v.Kind {
	case "id":
		id, err := spiffeid.FromString(v.Text)
		return id.String(), err
	case "trust_domain":
		td, err := spiffeid.TrustDomainFromString(v.Text)
		return td.Name(), err
	case "x509":
		return judgeX509(v)
	case "jwt":
		return judgeJWT(v)
	case "bundle":
		return judgeBundle(v)
	}
	return nil, fmt.Errorf("unknown kind %q", v.Kind)
}

func judgeX509(v vector) (any, error) {
	bundles := x509bundle.NewSet()
	for name, ders := range v.Roots {
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		bundle := x509bundle.New(td)
		for _, der := range ders {
			root, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, err
			}
			bundle.AddX509Authority(root)
		}
		bundles.Add(bundle)
	}
	id, _, err := x509svid.ParseAndVerify(v.Chain, bundles)
	return id.String(), err
}

func judgeJWT(v vector) (any, error) {
	bundles := jwtbundle.NewSet()
	for name, text := range v.Bundles {
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		bundle, err := spiffebundle.Parse(td, []byte(text))
		if err != nil {
			return nil, err
		}
		bundles.Add(bundle.JWTBundle())
	}
	svid, err := jwtsvid.ParseAndValidate(v.Text, bundles, v.Audience)
	if err != nil {
		return nil, err
	}
	return svid.ID.String(), nil
}

func judgeBundle(v vector) (any, error) {
	bundle, err := spiffebundle.Parse(spiffeid.RequireTrustDomainFromString("example.test"), []byte(v.Text))
	if err != nil {
		return nil, err
	}
	keyIDs := []string{}
	for keyID := range bundle.JWTAuthorities() {
		keyIDs = append(keyIDs, keyID)
	}
	sort.Strings(keyIDs)
	sequence, _ := bundle.SequenceNumber()
	return bundleContent{len(bundle.X509Authorities()), keyIDs, sequence}, nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var v vector
		answer := verdict{}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if value, err := judge(v); err != nil {
			answer.Reason = err.Error()
		} else {
			answer = verdict{Accepts: true, Value: value}
		}
		if err := out.Encode(answer); err != nil {
			os.Exit(1)
		}
	}
	if lines.Err() != nil {
		fmt.Fprintln(os.Stderr, lines.Err())
		os.Exit(1)
	}
}
