package connection

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit/store"
)

// This file keeps what upstreams give out for their users, where a connection says so
// (options.keep_tokens): sealed, for the host alone.

// ErrNoUpstreamTokens says that no tokens are kept for the user, or that they cannot be
// opened any more, because Config.Secrets were replaced since the user last signed in.
var ErrNoUpstreamTokens = errors.New("connection: no tokens of an upstream are kept for the user")

// UpstreamTokens are what an upstream gave out for a user. Whoever has them can do there
// what the user allowed.
type UpstreamTokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	TokenType    string `json:"token_type,omitempty"`
	// Expiry is zero if the upstream does not say when the access token expires.
	Expiry time.Time `json:"expiry,omitzero"`
}

// maxKeptTokens bounds what is kept for a user in bytes.
const maxKeptTokens = 48 << 10

func tokensPlace(u *store.User) string { return u.TenantID + "/" + u.ID + "/tokens" }

// UpstreamTokens returns the tokens that the upstream gave out when the user last signed
// in, with the refresh token of an earlier time if there was none. They are not refreshed
// here. The error is [ErrNoUpstreamTokens], store.ErrNotFound, or a system error.
func (d *Directory) UpstreamTokens(ctx context.Context, tenant, userID string) (UpstreamTokens, error) {
	user, err := d.cfg.Stores.Users.User(ctx, tenant, userID)
	if err != nil {
		return UpstreamTokens{}, err
	}
	return d.openTokens(&user)
}

func (d *Directory) openTokens(u *store.User) (UpstreamTokens, error) {
	var tokens UpstreamTokens
	if d.upstreams == nil || u.Blocked || len(u.UpstreamTokens) == 0 {
		return tokens, ErrNoUpstreamTokens
	}
	plain, err := d.upstreams.tokens.Open(u.UpstreamTokens, tokensPlace(u))
	if err != nil || json.Unmarshal(plain, &tokens) != nil {
		return UpstreamTokens{}, ErrNoUpstreamTokens
	}
	return tokens, nil
}

// keepTokens replaces what is kept for a user, or removes it if the connection keeps
// nothing (any more).
func (d *Directory) keepTokens(u *store.User, o *upstreamOptions, fresh *oauth2.Token) error {
	if !o.KeepTokens || fresh == nil {
		u.UpstreamTokens = nil
		return nil
	}
	kept := UpstreamTokens{AccessToken: fresh.AccessToken, RefreshToken: fresh.RefreshToken, TokenType: fresh.TokenType, Expiry: fresh.Expiry.UTC()}
	if fresh.Expiry.IsZero() {
		kept.Expiry = time.Time{}
	}
	if former, err := d.openTokens(u); err == nil && kept.RefreshToken == "" {
		kept.RefreshToken = former.RefreshToken
	}
	plain, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if len(plain) > maxKeptTokens {
		return upstreamFailed("the tokens to keep have more than %d bytes", maxKeptTokens)
	}
	u.UpstreamTokens = d.upstreams.tokens.Seal(plain, tokensPlace(u))
	return nil
}
