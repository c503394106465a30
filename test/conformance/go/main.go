// The Workload API as go-spiffe uses it. Each command prints one JSON object for each answer; the tests read them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

var commands = map[string]func(ctx context.Context, arguments []string) error{
	"watch":       watch,
	"jwt":         jwt,
	"validate":    validate,
	"bundles":     bundles,
	"get":         get,
	"serve":       serve,
	"descriptors": descriptors,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: conformance COMMAND ARGUMENT...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		say(map[string]any{"error": err.Error()})
		os.Exit(1)
	}
}

func say(answer any) {
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		panic(err)
	}
}

// The whole X.509 context, and again on each change, until the program is interrupted.
func watch(ctx context.Context, _ []string) error {
	err := workloadapi.WatchX509Context(ctx, watcher{})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(update *workloadapi.X509Context) {
	svids := []map[string]any{}
	for _, svid := range update.SVIDs {
		leaf := svid.Certificates[0]
		svids = append(svids, map[string]any{
			"id":     svid.ID.String(),
			"hint":   svid.Hint,
			"serial": leaf.SerialNumber.Text(16),
			"dns":    leaf.DNSNames,
		})
	}
	roots := map[string]int{}
	for _, bundle := range update.Bundles.Bundles() {
		roots[bundle.TrustDomain().Name()] = len(bundle.X509Authorities())
	}
	say(map[string]any{"svids": svids, "roots": roots})
}

func (watcher) OnX509ContextWatchError(err error) {
	say(map[string]any{"error": err.Error()})
}

// A token for an audience, checked here with the bundles of a JWT source, and by the server. Arguments: audience, SPIFFE ID.
func jwt(ctx context.Context, arguments []string) error {
	source, err := workloadapi.NewJWTSource(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	parameters := jwtsvid.Params{Audience: arguments[0]}
	if len(arguments) > 1 {
		if parameters.Subject, err = spiffeid.FromString(arguments[1]); err != nil {
			return err
		}
	}
	svid, err := source.FetchJWTSVID(ctx, parameters)
	if err != nil {
		return err
	}
	here, err := jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{arguments[0]})
	if err != nil {
		return err
	}
	there, err := workloadapi.ValidateJWTSVID(ctx, svid.Marshal(), arguments[0])
	if err != nil {
		return err
	}
	life := svid.Expiry.Sub(time.Now()).Round(time.Second).Seconds()
	say(map[string]any{"here": here.ID.String(), "there": there.ID.String(), "life": life, "token": svid.Marshal()})
	return nil
}

// Has the server check a token. Arguments: audience, token.
func validate(ctx context.Context, arguments []string) error {
	svid, err := workloadapi.ValidateJWTSVID(ctx, arguments[1], arguments[0])
	if err != nil {
		return err
	}
	say(map[string]any{"id": svid.ID.String(), "claims": svid.Claims})
	return nil
}

// The bundles of both kinds: X.509 roots and key ids by trust domain.
func bundles(ctx context.Context, _ []string) error {
	x509, err := workloadapi.FetchX509Bundles(ctx)
	if err != nil {
		return err
	}
	jwt, err := workloadapi.FetchJWTBundles(ctx)
	if err != nil {
		return err
	}
	roots := map[string]int{}
	for _, bundle := range x509.Bundles() {
		roots[bundle.TrustDomain().Name()] = len(bundle.X509Authorities())
	}
	keys := map[string]int{}
	for _, bundle := range jwt.Bundles() {
		keys[bundle.TrustDomain().Name()] = len(bundle.JWTAuthorities())
	}
	say(map[string]any{"roots": roots, "keys": keys})
	return nil
}

// A request over mTLS, with the SVID and the bundles of an X.509 source. Arguments: URL, SPIFFE ID of the server.
func get(ctx context.Context, arguments []string) error {
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	server, err := spiffeid.FromString(arguments[1])
	if err != nil {
		return err
	}
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(server))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
	response, err := client.Get(arguments[0])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	say(map[string]any{"status": response.StatusCode, "body": string(body)})
	return nil
}

// Answers over mTLS with the SPIFFE ID of whoever asks. Arguments: address, SPIFFE ID of the only client.
func serve(ctx context.Context, arguments []string) error {
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	client, err := spiffeid.FromString(arguments[1])
	if err != nil {
		return err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.PeerCertificates[0].URIs[0])
	})
	server := http.Server{
		Addr:              arguments[0],
		Handler:           handler,
		TLSConfig:         tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(client)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	say(map[string]any{"listening": arguments[0]})
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
