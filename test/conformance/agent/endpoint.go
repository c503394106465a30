package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	tokenLife   = 5 * time.Minute
	foreignName = "spiffe://other.test"
)

var errNoIdentity = status.Error(codes.PermissionDenied, "no identity issued")

// The three methods that hand identities on need. The others are Unimplemented, so that nobody takes their answers from here.
type endpoint struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	identities *identities
	keys       *keys
}

func (e *endpoint) FetchX509SVID(
	_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse],
) error {
	return e.follow(stream.Context(), func(svids []*workload.X509SVID) error {
		foreign := map[string][]byte{foreignName: e.keys.foreignRoot}
		return stream.Send(&workload.X509SVIDResponse{Svids: svids, FederatedBundles: foreign})
	})
}

func (e *endpoint) FetchJWTBundles(
	_ *workload.JWTBundlesRequest, stream grpc.ServerStreamingServer[workload.JWTBundlesResponse],
) error {
	key := jose.JSONWebKey{Key: e.keys.tokenKey.Public(), KeyID: tokenKeyID}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
	if err != nil {
		return err
	}
	weak := jose.JSONWebKey{Key: e.keys.foreignKey.Public(), KeyID: "weak"}
	foreign, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{weak}})
	if err != nil {
		return err
	}
	sent := false
	return e.follow(stream.Context(), func([]*workload.X509SVID) error {
		if sent {
			return nil
		}
		sent = true
		bundles := map[string][]byte{"spiffe://" + trustDomain: set, foreignName: foreign}
		return stream.Send(&workload.JWTBundlesResponse{Bundles: bundles})
	})
}

func (e *endpoint) FetchJWTSVID(
	ctx context.Context, request *workload.JWTSVIDRequest,
) (*workload.JWTSVIDResponse, error) {
	if err := checkHeader(ctx); err != nil {
		return nil, err
	}
	if len(request.Audience) == 0 {
		return nil, status.Error(codes.InvalidArgument, "audience must be specified")
	}
	response := &workload.JWTSVIDResponse{}
	held, _ := e.identities.now()
	for _, one := range held {
		if request.SpiffeId != "" && request.SpiffeId != one.SpiffeId {
			continue
		}
		token, err := e.sign(one.SpiffeId, request.Audience)
		if err != nil {
			return nil, err
		}
		response.Svids = append(response.Svids, &workload.JWTSVID{SpiffeId: one.SpiffeId, Svid: token})
	}
	if len(response.Svids) == 0 {
		return nil, errNoIdentity
	}
	return response, nil
}

// Sends at once and on each change, until nothing is held any more.
func (e *endpoint) follow(ctx context.Context, send func(svids []*workload.X509SVID) error) error {
	if err := checkHeader(ctx); err != nil {
		return err
	}
	for {
		held, changed := e.identities.now()
		if len(held) == 0 {
			return errNoIdentity
		}
		if err := send(held); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (e *endpoint) sign(id string, audience []string) (string, error) {
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: e.keys.tokenKey, KeyID: tokenKeyID}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	claims := jwt.Claims{
		Subject:  id,
		Audience: audience,
		IssuedAt: jwt.NewNumericDate(now),
		Expiry:   jwt.NewNumericDate(now.Add(tokenLife)),
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

func checkHeader(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get("workload.spiffe.io"); len(values) != 1 || values[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	return nil
}
