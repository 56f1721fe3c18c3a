package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/opkit/opkit/examples/internal/browser"
)

// configure performs "Configure your application": signing a user in and calling
// the API.
func (w *walk) configure(ctx context.Context, transport http.RoundTripper, app registered) error {
	b := browser.New(transport, pageCallback)

	w.title("Send the user to the authorization URL")
	answer, err := w.signIn(ctx, b, app, url.Values{"response_type": {"id_token token"}, "nonce": {"a-nonce"}}, true)
	if err != nil {
		return err
	}
	w.check(answer.Get("state") == "opaque-value", "state comes back")
	w.check(answer.Get("access_token") != "" && answer.Get("token_type") == "Bearer", "the fragment has an access token")
	claims, err := w.idToken(ctx, app, answer.Get("id_token"))
	if err != nil {
		return err
	}
	w.check(claims["nonce"] == "a-nonce", "the ID token has the nonce")
	w.check(claims[claimName] != nil, "the ID token has the namespaced custom claim")

	w.title("Call the API with the access token as a Bearer token")
	resp, err := w.get(ctx, w.APIURL, "", nil)
	if err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusUnauthorized, "without a token the API refuses")
	var booked struct {
		For string `json:"for"`
	}
	if resp, err = w.get(ctx, w.APIURL, answer.Get("access_token"), &booked); err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusOK && booked.For == claims["sub"], "with it the API answers for the user")

	w.title("Use token to get only an access_token")
	if answer, err = w.signIn(ctx, b, app, url.Values{"response_type": {"token"}}, false); err != nil {
		return err
	}
	w.check(answer.Get("access_token") != "" && !answer.Has("id_token"), "there is an access token and no ID token")

	w.title("The nonce is required for response_type=id_token token")
	if answer, err = w.signIn(ctx, b, app, url.Values{"response_type": {"id_token token"}}, false); err != nil {
		return err
	}
	w.check(answer.Get("error") == "invalid_request" && !answer.Has("access_token"), "a request without it is refused")

	if err := w.standardScopes(ctx, b, app); err != nil {
		return err
	}
	return w.useSecret(ctx, b, app)
}

// standardScopes asks for the standard scopes about users.
func (w *walk) standardScopes(ctx context.Context, b *browser.Browser, app registered) error {
	w.title("Request standard OIDC scopes about users, such as profile and email")
	answer, err := w.signIn(ctx, b, app, url.Values{
		"response_type": {"id_token token"}, "nonce": {"another-nonce"}, "scope": {"openid profile email"}, "audience": nil,
	}, false)
	if err != nil {
		return err
	}
	var userInfo map[string]any
	resp, err := w.get(ctx, joinURL(w.Issuer, "/userinfo"), answer.Get("access_token"), &userInfo)
	if err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusOK && userInfo["sub"] != nil && userInfo["name"] != nil, "userinfo has the profile")
	if strings.Contains(w.User, "@") {
		email, _ := userInfo["email"].(string)
		w.check(strings.EqualFold(email, w.User), "userinfo has the email address")
	}
	return nil
}

// useSecret uses the client secret for what the page says it is for.
func (w *walk) useSecret(ctx context.Context, b *browser.Browser, app registered) error {
	w.title("The client secret authenticates to the token endpoint")
	answer, err := w.signIn(ctx, b, app, url.Values{"response_type": {"code"}}, false)
	if err != nil {
		return err
	}
	redemption := url.Values{
		"grant_type": {"authorization_code"}, "code": {answer.Get("code")}, "redirect_uri": {pageCallback},
		"client_id": {app.ClientID}, "client_secret": {"wrong"},
	}
	var failure struct {
		Error string `json:"error"`
	}
	resp, err := w.post(ctx, "/oauth/token", redemption, &failure)
	if err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusUnauthorized && failure.Error == "invalid_client", "a wrong one is refused")
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	redemption.Set("client_secret", *app.ClientSecret)
	if resp, err = w.post(ctx, "/oauth/token", redemption, &tokens); err != nil {
		return err
	}
	w.check(resp.StatusCode == http.StatusOK && tokens.AccessToken != "", "the right one gets tokens, also after the wrong one")

	w.title("The client secret validates ID tokens")
	var signed registered
	body := strings.Replace(pageRegistration, "{", `{"id_token_signed_response_alg":"HS256",`, 1)
	if _, err = w.send(ctx, http.MethodPost, "/oidc/register", "", body, &signed); err != nil {
		return err
	}
	if signed.ClientSecret == nil {
		return errors.New("the application that asked for HS256 did not get registered")
	}
	if answer, err = w.signIn(ctx, b, signed, url.Values{"response_type": {"id_token token"}, "nonce": {"a-nonce"}}, true); err != nil {
		return err
	}
	parsed, err := jwt.ParseSigned(answer.Get("id_token"), []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return err
	}
	w.check(parsed.Claims([]byte(*signed.ClientSecret), &map[string]any{}) == nil, "an ID token can be signed with it")
	return nil
}

// signIn sends the browser to the authorization URL with the page's parameters,
// changed by change, and returns the answer that arrives at the redirect URI. The
// login form is filled in if it appears; consentAsked says whether the user must
// be asked for consent.
func (w *walk) signIn(ctx context.Context, b *browser.Browser, app registered, change url.Values, consentAsked bool) (url.Values, error) {
	query := url.Values{
		"audience": {w.Audience}, "scope": {"appointments contacts"}, "client_id": {app.ClientID},
		"redirect_uri": {pageCallback}, "state": {"opaque-value"},
	}
	for name, values := range change {
		query[name] = values
	}
	p, err := b.Open(ctx, joinURL(w.Issuer, "/authorize")+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	if _, err := p.Button("login-submit"); err == nil {
		w.say("The provider's login page. Signing in as " + w.User + ".")
		if p, err = b.Submit(ctx, p, map[string]string{"username": w.User, "password": w.Password}, ""); err != nil {
			return nil, err
		}
	}
	allow, err := p.Button("consent-allow")
	if consentAsked {
		w.check(err == nil, "the user is asked for consent")
	}
	if err == nil {
		w.say("The provider's consent page. Allowing what is asked for.")
		if p, err = b.Submit(ctx, p, nil, allow); err != nil {
			return nil, err
		}
	}
	if !strings.HasPrefix(p.Address.String(), pageCallback) {
		return nil, errors.New("the browser did not arrive at the redirect URI but at the page “" + p.Title() + "”")
	}
	answer := p.Address.Query()
	if query.Get("response_type") != "code" {
		if answer, err = url.ParseQuery(p.Address.EscapedFragment()); err != nil {
			return nil, err
		}
	}
	w.say("The browser arrives at " + pageCallback + " with " + strings.Join(slices.Sorted(maps.Keys(answer)), ", ") + ".")
	return answer, nil
}

// idToken checks an ID token as an application does and returns its claims.
func (w *walk) idToken(ctx context.Context, app registered, raw string) (map[string]any, error) {
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	var keys jose.JSONWebKeySet
	if _, err := w.get(ctx, joinURL(w.Issuer, "/.well-known/jwks.json"), "", &keys); err != nil {
		return nil, err
	}
	var standard jwt.Claims
	var all map[string]any
	w.check(parsed.Claims(keys, &standard, &all) == nil, "the ID token is signed with a key of the provider")
	w.check(standard.Issuer == w.Issuer && slices.Equal(standard.Audience, jwt.Audience{app.ClientID}), "its issuer and audience are right")
	w.check(standard.Expiry != nil && standard.Expiry.Time().After(time.Now()), "it has not expired")
	return all, nil
}
