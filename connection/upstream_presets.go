package connection

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/opkit/opkit/store"
)

// Strategies of providers that are known. See docs/upstream.md for what they need.
const (
	StrategyGoogle = "google-oauth2"
	// StrategyEntra is Microsoft Entra ID, of one tenant or of all.
	StrategyEntra  = "waad"
	StrategyGitHub = "github"
	StrategyApple  = "apple"
	// StrategyAuth0 is a tenant of Auth0: "auth0" is taken by databases.
	StrategyAuth0    = "auth0-oidc"
	StrategyKeycloak = "keycloak"
)

// preset is what is known of an upstream by its strategy. Members that are empty come
// from the connection's options.
type preset struct {
	// oidc says that the upstream is an OpenID Provider; it is a plain authorization
	// server otherwise.
	oidc bool
	// social says that anybody may have an account there.
	social bool
	// label is what buttons say.
	label string
	// issuer cannot be chosen.
	issuer string
	// The endpoints of a server without metadata, if the options name no others.
	authorizationEndpoint, tokenEndpoint, userinfoEndpoint string
	// scopes are asked for if the options name none.
	scopes []string
	// subject is the claim that identifies users where there is no ID token. Empty: sub.
	subject string
	// namesOnce says that the upstream tells names at a user's first sign-in only.
	namesOnce bool
	// complete says that ID tokens have all that userinfo would add.
	complete bool
	// ageless says that the upstream never tells when a user signed in.
	ageless bool
	// formPost says that the answer has to come as a form.
	formPost bool
	// loginHint is the parameter that says who is about to sign in. Empty: login_hint
	// for an OpenID Provider, none otherwise.
	loginHint string

	// prepare fills in options that follow from others.
	prepare func(o *upstreamOptions)
	// check applies rules of the upstream's own to options.
	check func(o *upstreamOptions) error
	// accepts reports whether a token or metadata may come from an issuer. Nil: the one
	// of the options.
	accepts func(o *upstreamOptions, issuer string) bool
	// issued reports whether an ID token is the issuer's. Nil: iss is the metadata's.
	issued func(o *upstreamOptions, server *upstreamServer, token *idToken) bool
	// secret returns the client's secret where it is made for each request.
	secret func(d *Directory, c *store.Connection, o *upstreamOptions) (string, error)
	// more adds to userinfo what the upstream says elsewhere.
	more func(ctx context.Context, d *Directory, o *upstreamOptions, accessToken string, info map[string]json.RawMessage) error
	// refine corrects what was understood.
	refine func(o *upstreamOptions, claims map[string]json.RawMessage, answer *UpstreamAnswer, identity *UpstreamIdentity)
}

var presets = map[string]*preset{
	StrategyOIDC:   {oidc: true, scopes: []string{"openid", "profile", "email"}},
	StrategyOAuth2: {social: true},
	StrategyGoogle: {
		oidc: true, social: true, label: "Google", issuer: "https://accounts.google.com",
		scopes: []string{"openid", "profile", "email"}, complete: true,
		// It has neither max_age nor prompt=login.
		ageless: true,
		refine: func(_ *upstreamOptions, claims map[string]json.RawMessage, _ *UpstreamAnswer, identity *UpstreamIdentity) {
			// It vouches for addresses of its own and of domains that it serves. Of others it
			// knows that they were the user's when the account was made.
			identity.Doubtful = !strings.HasSuffix(identity.Email, "@gmail.com") && claimText(claims["hd"], maxUpstreamText) == ""
		},
	},
	StrategyEntra:    entra,
	StrategyGitHub:   gitHub,
	StrategyApple:    apple,
	StrategyKeycloak: {oidc: true, label: "Keycloak", scopes: []string{"openid", "profile", "email"}},
	StrategyAuth0: {
		oidc: true, label: "Auth0", scopes: []string{"openid", "profile", "email"},
		// Its issuers end in a slash.
		prepare: func(o *upstreamOptions) {
			if o.Domain != "" && o.Issuer == "" {
				o.Issuer = "https://" + o.Domain + "/"
			}
		},
		check: func(o *upstreamOptions) error {
			if o.Domain == "" && o.DiscoveryURL == "" && o.Issuer == "" {
				return invalid("options.domain", "is required: the domain of the Auth0 tenant")
			}
			if o.Domain != "" && o.Issuer != "https://"+o.Domain+"/" {
				return invalid("options.issuer", "must be https://, the domain, and a slash")
			}
			return nil
		},
	},
}

// applyPreset fills in what the strategy knows.
func (o *upstreamOptions) applyPreset() {
	p := o.preset
	if p.issuer != "" && o.Issuer == "" {
		o.Issuer = p.issuer
	}
	for _, endpoint := range []struct {
		to   *string
		from []string
	}{
		{&o.AuthorizationEndpoint, []string{o.AuthorizationURL, p.authorizationEndpoint}},
		{&o.TokenEndpoint, []string{o.TokenURL, p.tokenEndpoint}},
		{&o.UserinfoEndpoint, []string{p.userinfoEndpoint}},
	} {
		for _, from := range endpoint.from {
			if *endpoint.to == "" {
				*endpoint.to = from
			}
		}
	}
	if p.prepare != nil {
		p.prepare(o)
	}
}

// checkPreset applies the rules of the strategy.
func (o *upstreamOptions) checkPreset() error {
	if o.preset.issuer != "" && o.Issuer != o.preset.issuer {
		return invalid("options.issuer", "must be %s, or left out", o.preset.issuer)
	}
	if o.preset.check != nil {
		return o.preset.check(o)
	}
	return nil
}

// accepts reports whether metadata may be that of an issuer.
func (o *upstreamOptions) accepts(issuer string) bool {
	if o.preset.accepts != nil {
		return o.preset.accepts(o, issuer)
	}
	if o.Issuer != "" {
		return issuer == o.Issuer
	}
	// An issuer that only the address of its metadata names may end in a slash or not,
	// which the address does not tell.
	base := strings.TrimSuffix(o.DiscoveryURL, wellKnown)
	return issuer == base || issuer == base+"/"
}
