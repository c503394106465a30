package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

const (
	trustDomain = "example.test"
	tokenKeyID  = "agent-token-key"
	backdate    = 10 * time.Second
)

type keys struct {
	caKey    *ecdsa.PrivateKey
	ca       *x509.Certificate
	tokenKey *ecdsa.PrivateKey

	// Of a federated trust domain that does not know the rules: a root that is no CA, and a key that is too short. An agent hands
	// such bundles on as they are.
	foreignRoot []byte
	foreignKey  *rsa.PrivateKey
}

// Reads what an agent before this one left in the folder, or makes it.
func openKeys(folder string) (*keys, error) {
	caKey, err := openKey(filepath.Join(folder, "ca.key"))
	if err != nil {
		return nil, err
	}
	tokenKey, err := openKey(filepath.Join(folder, "token.key"))
	if err != nil {
		return nil, err
	}
	ca, err := openCA(filepath.Join(folder, "ca.pem"), caKey)
	if err != nil {
		return nil, err
	}
	foreignKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		return nil, err
	}
	template := newTemplate(&url.URL{Scheme: "spiffe", Host: "other.test"}, time.Hour)
	foreignRoot, err := x509.CreateCertificate(rand.Reader, template, template, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	return &keys{caKey: caKey, ca: ca, tokenKey: tokenKey, foreignRoot: foreignRoot, foreignKey: foreignKey}, nil
}

func openKey(path string) (*ecdsa.PrivateKey, error) {
	der, err := os.ReadFile(path)
	if err == nil {
		return x509.ParseECPrivateKey(der)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if der, err = x509.MarshalECPrivateKey(key); err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, der, 0o600)
}

func openCA(path string, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, errors.New("ca.pem holds no PEM")
		}
		return x509.ParseCertificate(block.Bytes)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	template := newTemplate(&url.URL{Scheme: "spiffe", Host: trustDomain}, time.Hour)
	template.Subject = pkix.Name{Organization: []string{"agent"}, CommonName: "root"}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newTemplate(id *url.URL, life time.Duration) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(randomBytes(16)),
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		URIs:                  []*url.URL{id},
		BasicConstraintsValid: true,
	}
}

// Random bytes of which the first is neither 0 nor above 127.
func randomBytes(count int) []byte {
	bytes := make([]byte, count)
	// Never fails: crypto/rand ends the program instead.
	_, _ = rand.Read(bytes)
	bytes[0] = bytes[0]&0x7f | 1
	return bytes
}
