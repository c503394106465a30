package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log"
	"net/url"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
)

// What every caller holds now, in the order of the entries.
type identities struct {
	keys *keys
	ttl  time.Duration

	mu      sync.Mutex
	held    []*identity
	changed chan struct{}
}

type identity struct {
	message  *workload.X509SVID
	notAfter time.Time
}

func newIdentities(keys *keys, ttl time.Duration) *identities {
	return &identities{keys: keys, ttl: ttl, changed: make(chan struct{})}
}

// What is held, and a channel that is closed at the next change.
func (i *identities) now() ([]*workload.X509SVID, <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	messages := make([]*workload.X509SVID, 0, len(i.held))
	for _, one := range i.held {
		messages = append(messages, one.message)
	}
	return messages, i.changed
}

func (i *identities) set(ids []string) error {
	return i.replace(func(before []*identity) ([]*identity, error) {
		after := make([]*identity, 0, len(ids))
		for _, id := range ids {
			one, err := i.findOrIssue(before, id)
			if err != nil {
				return nil, err
			}
			after = append(after, one)
		}
		return after, nil
	})
}

// Replaces each SVID at half its life, with a new key.
func (i *identities) rotate() {
	for range time.Tick(50 * time.Millisecond) {
		i.mu.Lock()
		due := false
		for _, one := range i.held {
			due = due || i.isDue(one)
		}
		i.mu.Unlock()
		if !due {
			continue
		}
		err := i.replace(func(before []*identity) ([]*identity, error) {
			after := make([]*identity, 0, len(before))
			for _, one := range before {
				if i.isDue(one) {
					var err error
					if one, err = i.issue(one.message.SpiffeId); err != nil {
						return nil, err
					}
				}
				after = append(after, one)
			}
			return after, nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
}

func (i *identities) isDue(one *identity) bool {
	return time.Until(one.notAfter) < i.ttl/2
}

func (i *identities) replace(change func(before []*identity) ([]*identity, error)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	after, err := change(i.held)
	if err != nil {
		return err
	}
	i.held = after
	close(i.changed)
	i.changed = make(chan struct{})
	return nil
}

func (i *identities) findOrIssue(before []*identity, id string) (*identity, error) {
	for _, one := range before {
		if one.message.SpiffeId == id {
			return one, nil
		}
	}
	return i.issue(id)
}

func (i *identities) issue(id string) (*identity, error) {
	uri, err := url.Parse(id)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := newTemplate(uri, i.ttl)
	template.Subject = pkix.Name{Organization: []string{"agent"}}
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.SubjectKeyId = randomBytes(20)
	chain, err := x509.CreateCertificate(rand.Reader, template, i.keys.ca, key.Public(), i.keys.caKey)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	message := &workload.X509SVID{SpiffeId: id, X509Svid: chain, X509SvidKey: pkcs8, Bundle: i.keys.ca.Raw}
	return &identity{message: message, notAfter: template.NotAfter}, nil
}
