package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
)

// packRequest is what "pack" makes of a policy beside its files.
type packRequest struct {
	Revision string `json:"revision"`
	// Tests are the _test.rego files, which travel with the policy.
	Tests map[string]string `json:"tests"`
	// Signing is null for a bundle without signatures.
	Signing *signingRequest `json:"signing"`
}

type signingRequest struct {
	// Key is a private key in PEM, or the secret of HS256 and its like.
	Key       string `json:"key"`
	Algorithm string `json:"algorithm"`
	KeyID     string `json:"keyId"`
	// Scope is what verifiers with a scope ask for; empty: none.
	Scope string `json:"scope"`
}

// pack packs the policy as OPA does. The same files give the same bytes, but for signatures with ECDSA.
func pack(ctx context.Context, req request) response {
	compiled := build(ctx, req)
	if !compiled.OK {
		return compiled
	}
	caps := ast.CapabilitiesForThisVersion()
	sources := map[string]string{}
	for name, text := range req.Modules {
		sources[name] = text
	}
	for name, text := range req.Pack.Tests {
		sources[name] = text
	}
	modules, problems := parseModules(sources, caps)
	data, dataProblems := mergeDocuments(req.Data)
	if problems = append(problems, dataProblems...); len(problems) > 0 {
		return failed(problems...)
	}
	packed := bundle.Bundle{Modules: moduleFiles(modules, sources), Data: data}
	for i := range packed.Modules {
		packed.Modules[i].URL = "/" + packed.Modules[i].URL
		packed.Modules[i].Path = packed.Modules[i].URL
	}
	packed.SetRegoVersion(ast.RegoV1)
	packed.Manifest.Revision = req.Pack.Revision
	packed.Manifest.Init()
	if signing := req.Pack.Signing; signing != nil {
		if err := sign(&packed, signing); err != nil {
			return failed(problem{Code: "signing_failed", Message: err.Error()})
		}
	}
	var bytes bytes.Buffer
	if err := bundle.NewWriter(&bytes).DisableFormat(true).UseModulePath(true).Write(packed); err != nil {
		return failed(fromError(err)...)
	}
	return response{OK: true, Packed: bytes.Bytes(), Warnings: compiled.Warnings}
}

// sign adds the one signature of .signatures.json, as `opa build --signing-key` does.
func sign(packed *bundle.Bundle, signing *signingRequest) error {
	if err := bundle.RegisterSigner(signerID, textSigner{*signing}); err != nil {
		return err
	}
	config := bundle.NewSigningConfig("", signing.Algorithm, "").WithPlugin(signerID)
	err := packed.GenerateSignature(config, signing.KeyID, true)
	packed.Signatures.Plugin = "" // any verifier takes it
	return err
}

const signerID = "without_files"

// textSigner is OPA's, which looks for keys and claims in files first.
type textSigner struct{ signingRequest }

func (s textSigner) privateKey() (any, error) {
	if strings.HasPrefix(s.Algorithm, "HS") {
		return []byte(s.Key), nil
	}
	// Before it there may be text, and the parameters of a curve.
	for rest := []byte(s.Key); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("the signing key holds no private key in PEM")
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return bundle.NewSigningConfig(string(pem.EncodeToMemory(block)), s.Algorithm, "").GetPrivateKey()
		}
	}
}

// GenerateSignedToken implements bundle.Signer.
func (s textSigner) GenerateSignedToken(files []bundle.FileInfo, config *bundle.SigningConfig, keyID string) (string, error) {
	private, err := s.privateKey()
	if err != nil {
		return "", err
	}
	algorithm, known := jwa.LookupSignatureAlgorithm(config.Algorithm)
	if !known {
		return "", fmt.Errorf("unknown signature algorithm: %s", config.Algorithm)
	}
	key, err := jwk.Import(private)
	if err != nil {
		return "", err
	}
	token := jwt.NewBuilder().Claim("files", files)
	if s.Scope != "" {
		token.Claim("scope", s.Scope)
	}
	if keyID != "" {
		token.Claim("keyid", keyID)
		if err := key.Set(jwk.KeyIDKey, keyID); err != nil {
			return "", err
		}
	}
	built, err := token.Build()
	if err != nil {
		return "", err
	}
	signed, err := jwt.Sign(built, jwt.WithKey(algorithm, key))
	return string(signed), err
}
