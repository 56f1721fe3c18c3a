package connection

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// This file takes in what an upstream answers: RFC 6749 §4.1.2 to §4.1.4, RFC 9207,
// OpenID Connect Core §3.1.2.5 to §3.1.3.7 and §5.3.

// UpstreamAnswer is what came back to the redirect URI.
type UpstreamAnswer struct {
	Code string
	// Issuer is the parameter iss (RFC 9207).
	Issuer string
	// Error is the error code, empty if there is none.
	Error string
	// User is the parameter user, which Apple sends.
	User string
	// Connection is the identifier at the end of the redirect URI that the answer came
	// to, empty if it came to the one that connections share.
	Connection string
}

// UpstreamIdentity is who an upstream says has signed in.
type UpstreamIdentity struct {
	// Subject is what the upstream calls the user.
	Subject string
	UpstreamProfile
	// AuthenticatedAt is when the user signed in there, zero if it does not say.
	AuthenticatedAt time.Time
	// AMR are the methods that the upstream names, and ACR the class, empty unless it is
	// one of [ACRConfig].Values.
	AMR []string
	ACR string
	// Doubtful says that the address is verified, but that the upstream is not the one
	// who gives out addresses of its domain: it may have changed hands since.
	Doubtful bool `json:",omitempty"`
	// Tokens are what the upstream gave out, if the connection keeps that.
	Tokens *oauth2.Token `json:",omitempty"`
}

const (
	maxUpstreamCode  = 4 << 10
	maxUpstreamToken = 16 << 10
)

// UpstreamIdentity redeems an answer. login is what the sign-in began with. It changes
// nothing here.
//
// The error wraps [ErrUpstreamDenied], [ErrUpstreamFailed], [ErrUpstreamStale] or
// [ErrNotAllowed], or is a system error.
func (d *Directory) UpstreamIdentity(ctx context.Context, t *tenant.Tenant, c *store.Connection, login UpstreamLogin, answer UpstreamAnswer) (UpstreamIdentity, error) {
	o, server, err := d.upstream(ctx, t, c)
	if err != nil {
		return UpstreamIdentity{}, err
	}
	// RFC 9700 §4.4.2, RFC 9207 §2.4: before anything else of the answer is looked at. An
	// answer of another server than the one that was asked is nothing to act on.
	own := ""
	if o.OwnRedirectURI {
		own = c.ID
	}
	switch {
	case answer.Connection != own:
		return UpstreamIdentity{}, upstreamFailed("the answer came to the redirect URI of another connection")
	case answer.Issuer != "" && server.Issuer != "" && !o.isAnswerOf(server, answer.Issuer):
		return UpstreamIdentity{}, upstreamFailed("the answer is of another issuer: %q", answer.Issuer)
	case answer.Issuer == "" && server.IssParameter:
		return UpstreamIdentity{}, upstreamFailed("the answer has no iss, which the upstream promised")
	}
	switch {
	case answer.Error == "temporarily_unavailable" || answer.Error == "server_error":
		return UpstreamIdentity{}, upstreamFailed("the upstream answers %s", answer.Error)
	case slices.Contains(deniedErrors, answer.Error):
		return UpstreamIdentity{}, ErrUpstreamDenied
	case answer.Error != "":
		// It is about the request, so about how the connection is set up.
		return UpstreamIdentity{}, upstreamFailed("the upstream answers %s", shortText(answer.Error))
	case answer.Code == "" || len(answer.Code) > maxUpstreamCode:
		return UpstreamIdentity{}, upstreamFailed("the answer has neither a code nor an error")
	}
	tokens, err := d.redeemUpstream(ctx, c, o, server, login, answer.Code)
	if err != nil {
		return UpstreamIdentity{}, err
	}
	if o.preset.oidc {
		return d.openIDIdentity(ctx, t, c, o, server, login, &answer, tokens)
	}
	return d.oauthIdentity(ctx, c, o, server, &answer, tokens)
}

// isAnswerOf reports whether an answer that names an issuer is the upstream's.
func (o *upstreamOptions) isAnswerOf(server *upstreamServer, issuer string) bool {
	if server.Issuer == entraTemplate {
		_, ok := entraIssuer(issuer)
		return ok
	}
	return issuer == server.Issuer
}

// deniedErrors say that nobody signed in, and that nothing is wrong about it.
var deniedErrors = []string{"access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required", "user_cancelled_authorize"}

// shortText is what logs get of a text of strangers.
func shortText(s string) string { return s[:min(len(s), 64)] }

// redeemUpstream exchanges a code.
func (d *Directory) redeemUpstream(ctx context.Context, c *store.Connection, o *upstreamOptions, server *upstreamServer, login UpstreamLogin, code string) (*oauth2.Token, error) {
	var secret string
	var err error
	if o.preset.secret != nil {
		secret, err = o.preset.secret(d, c, o)
	} else {
		secret, err = d.openSecret(c, "client_secret", o.ClientSecret)
	}
	if err != nil {
		return nil, err
	}
	var options []oauth2.AuthCodeOption
	if o.usesPKCE() {
		options = append(options, oauth2.VerifierOption(login.verifier()))
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, d.upstreams.client)
	tokens, err := o.exchanger(server, secret, o.redirectURI(login, c)).Exchange(ctx, code, options...)
	if err != nil {
		// The answer's text may repeat what was sent, the secret included.
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			return nil, upstreamFailed("the token endpoint answers with the status %d and the error %q", refused.Response.StatusCode, shortText(refused.ErrorCode))
		}
		return nil, upstreamFailed("the token endpoint: %w", err)
	}
	if len(tokens.AccessToken) > maxUpstreamToken || len(tokens.RefreshToken) > maxUpstreamToken {
		return nil, upstreamFailed("a token has more than %d bytes", maxUpstreamToken)
	}
	// RFC 6749 §7.1: a token of a type that is not understood must not be used. Some
	// servers leave the type out.
	if tokens.TokenType != "" && !strings.EqualFold(tokens.TokenType, "bearer") {
		return nil, upstreamFailed("the access token is no bearer token but %q", shortText(tokens.TokenType))
	}
	return tokens, nil
}

// openIDIdentity is who an ID token is about, with what the userinfo endpoint adds.
func (d *Directory) openIDIdentity(ctx context.Context, t *tenant.Tenant, c *store.Connection, o *upstreamOptions, server *upstreamServer, login UpstreamLogin, answer *UpstreamAnswer, tokens *oauth2.Token) (UpstreamIdentity, error) {
	compact, _ := tokens.Extra("id_token").(string)
	token, err := d.verifyIDToken(ctx, t, o, server, login, compact, tokens.AccessToken)
	if err != nil {
		return UpstreamIdentity{}, err
	}
	claims := token.Claims
	if server.UserinfoEndpoint != "" && !o.preset.complete {
		info, err := d.userinfo(ctx, server.UserinfoEndpoint, tokens.AccessToken)
		if err != nil {
			return UpstreamIdentity{}, err
		}
		// §5.3.2: otherwise the access token may have been swapped for another user's.
		if claimText(info["sub"], maxUpstreamText) != token.Subject {
			return UpstreamIdentity{}, upstreamFailed("userinfo is about somebody else than the ID token")
		}
		claims = withUserinfo(claims, info)
	}
	identity := UpstreamIdentity{Subject: token.Subject, AuthenticatedAt: token.AuthTime, AMR: token.AMR, UpstreamProfile: o.profileOf(claims), Tokens: tokens}
	if slices.Contains(d.cfg.ACR.Values, token.ACR) {
		identity.ACR = token.ACR
	}
	return d.refined(ctx, c, o, claims, answer, identity)
}

// withUserinfo adds to the claims of an ID token those of userinfo. What is signed wins;
// an address, and whether it was verified, come from one of the two together.
func withUserinfo(signed, info map[string]json.RawMessage) map[string]json.RawMessage {
	claims := maps.Clone(info)
	for _, pair := range [][2]string{{"email", "email_verified"}, {"phone_number", "phone_number_verified"}} {
		value, verified := signed[pair[0]], signed[pair[1]]
		if (value != nil || verified != nil) && !(verified == nil && string(value) == string(info[pair[0]])) {
			delete(claims, pair[0])
			delete(claims, pair[1])
		}
	}
	maps.Copy(claims, signed)
	return claims
}

// oauthIdentity is who the userinfo endpoint of an upstream without ID tokens says it is.
func (d *Directory) oauthIdentity(ctx context.Context, c *store.Connection, o *upstreamOptions, server *upstreamServer, answer *UpstreamAnswer, tokens *oauth2.Token) (UpstreamIdentity, error) {
	info, err := d.userinfo(ctx, server.UserinfoEndpoint, tokens.AccessToken)
	if err != nil {
		return UpstreamIdentity{}, err
	}
	if o.preset.more != nil {
		if err := o.preset.more(ctx, d, o, tokens.AccessToken, info); err != nil {
			return UpstreamIdentity{}, err
		}
	}
	subject := o.subjectOf(info)
	if subject == "" {
		return UpstreamIdentity{}, upstreamFailed("userinfo does not say who the user is")
	}
	identity := UpstreamIdentity{Subject: subject, UpstreamProfile: o.profileOf(info), Tokens: tokens}
	return d.refined(ctx, c, o, info, answer, identity)
}

// refined returns an identity with what the strategy and the host make of it.
func (d *Directory) refined(ctx context.Context, c *store.Connection, o *upstreamOptions, claims map[string]json.RawMessage, answer *UpstreamAnswer, identity UpstreamIdentity) (UpstreamIdentity, error) {
	if o.preset.refine != nil {
		o.preset.refine(o, claims, answer, &identity)
	}
	if err := d.mapUpstream(ctx, c, &identity, claims); err != nil {
		return UpstreamIdentity{}, err
	}
	if !o.KeepTokens {
		identity.Tokens = nil
	}
	return identity, nil
}

func (d *Directory) userinfo(ctx context.Context, address, accessToken string) (map[string]json.RawMessage, error) {
	fetched, err := fetchJSON(ctx, d.upstreams.client, address, accessToken)
	if err != nil {
		return nil, err
	}
	return parseUserinfo(fetched.Body)
}

// parseUserinfo reads the answer of a userinfo endpoint. On error the result is nil.
func parseUserinfo(body []byte) (map[string]json.RawMessage, error) {
	var claims map[string]json.RawMessage
	if err := httpx.DecodeJSON(body, &claims); err != nil {
		return nil, upstreamFailed("userinfo is not a JSON object with each member once")
	}
	return claims, nil
}
