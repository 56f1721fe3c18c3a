package flowtest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	callback = "https://client.example.com/callback"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// signIn gets a code for the application and redeems it.
func (d *Driver) signIn(ctx context.Context, app *Application) error {
	code, err := d.Authorize(ctx, app)
	if err != nil {
		return err
	}
	return d.do(ctx, step{kind: redeem, app: app, family: &Family{code: code}})
}

// Authorize goes through the pages that come up and returns the code. A page that
// asks for what was acknowledged before is an error.
func (d *Driver) Authorize(ctx context.Context, app *Application) (code string, err error) {
	sum := sha256.Sum256([]byte(verifier))
	res, err := d.send(ctx, http.MethodGet, d.cfg.Issuer+"/authorize?"+url.Values{
		"client_id": {app.ID}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid offline_access"},
		"state": {"af0ifjsldkj"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), "", "", "")
	if err != nil {
		return "", err
	}
	if strings.Contains(res.body, `id="login-submit"`) {
		if d.signedIn {
			return "", errors.New("the session is lost: the login page came up again")
		}
		d.Logins++
		if res, err = d.submit(ctx, res, url.Values{"username": {d.cfg.Username}, "password": {d.cfg.Password}}); err != nil {
			return "", err
		}
	}
	if strings.Contains(res.body, `id="consent-allow"`) {
		d.signedIn = true
		if app.consented {
			return "", errors.New("the grant is lost: the consent page came up again")
		}
		if res, err = d.submit(ctx, res, url.Values{"decision": {"allow"}}); err != nil {
			return "", err
		}
	}
	location, err := res.Location()
	if err != nil || location.Query().Get("code") == "" {
		return "", res.unexpected("authorization")
	}
	d.signedIn, app.consented = true, true
	return location.Query().Get("code"), nil
}

var (
	formTag   = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)">(.*?)</form>`)
	hiddenTag = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// submit fills in the first form of a page of the provider.
func (d *Driver) submit(ctx context.Context, page answer, fields url.Values) (answer, error) {
	found := formTag.FindStringSubmatch(page.body)
	if found == nil {
		return answer{}, page.unexpected("a page without a form")
	}
	for _, hidden := range hiddenTag.FindAllStringSubmatch(found[2], -1) {
		fields.Set(html.UnescapeString(hidden[1]), html.UnescapeString(hidden[2]))
	}
	action, err := page.Request.URL.Parse(html.UnescapeString(found[1]))
	if err != nil {
		return answer{}, fmt.Errorf("the target of a form: %w", err)
	}
	return d.send(ctx, http.MethodPost, action.String(), "application/x-www-form-urlencoded", "", fields.Encode())
}
