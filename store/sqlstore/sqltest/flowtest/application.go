package flowtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
)

// Application is a client that registered itself.
type Application struct {
	ID string
	// Deleted means that it was acknowledged.
	Deleted bool
	// Families are those whose code was redeemed, with or without an answer.
	Families []*Family

	secret    string
	consented bool // acknowledged
}

// Family is what came of one code.
type Family struct {
	// Generation is how often it was refreshed, and Dead that it was revoked.
	Generation int64
	Dead       bool

	code            string
	access, refresh string
	spent           []string // refresh tokens, the oldest first
}

func (a *Application) live() int {
	n := 0
	for _, f := range a.Families {
		if !f.Dead {
			n++
		}
	}
	return n
}

func (a *Application) anyFamily() *Family {
	live := slices.DeleteFunc(slices.Clone(a.Families), func(f *Family) bool { return f.Dead })
	if len(live) == 0 {
		return nil
	}
	return live[rand.IntN(len(live))]
}

// Register registers an application, which is the last one of d.Applications then.
func (d *Driver) Register(ctx context.Context) error { return d.register(ctx) }

func (d *Driver) register(ctx context.Context) error {
	res, err := d.send(ctx, http.MethodPost, d.cfg.Issuer+"/oidc/register", "application/json", "",
		`{"client_name":"My application","redirect_uris":["`+callback+`"],"grant_types":["authorization_code","refresh_token"]}`)
	if err != nil {
		return err
	}
	var client struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal([]byte(res.body), &client); err != nil || res.StatusCode != http.StatusCreated || client.ID == "" {
		return res.unexpected("registration")
	}
	d.Applications = append(d.Applications, &Application{ID: client.ID, secret: client.Secret})
	return nil
}

// Token sends a request of the application to the token endpoint and returns the
// status, the error code and the refresh token.
func (d *Driver) Token(ctx context.Context, app *Application, form url.Values) (status int, code, refreshToken string, err error) {
	res, tokens, err := d.token(ctx, app, form)
	if err != nil {
		return 0, "", "", err
	}
	return res.StatusCode, tokens.Error, tokens.Refresh, nil
}

// Redemption is the form that redeems a code.
func Redemption(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}}
}

// Refresh is the form that uses a refresh token.
func Refresh(refreshToken string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

func (d *Driver) token(ctx context.Context, app *Application, form url.Values) (answer, tokens, error) {
	form.Set("client_id", app.ID)
	form.Set("client_secret", app.secret)
	res, err := d.post(ctx, "/oauth/token", form)
	if err != nil {
		return answer{}, tokens{}, err
	}
	var out tokens
	if err := json.Unmarshal([]byte(res.body), &out); err != nil {
		return res, tokens{}, res.unexpected("token endpoint")
	}
	return res, out, nil
}

func refused(res answer, out tokens) bool {
	return res.StatusCode == http.StatusBadRequest && out.Error == "invalid_grant"
}

func (d *Driver) redeem(ctx context.Context, s *step) error {
	res, out, err := d.token(ctx, s.app, Redemption(s.family.code))
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusOK:
		s.family.access, s.family.refresh = out.Access, out.Refresh
	case refused(res, out) && s.again:
		// It was redeemed, the answer was lost, and this second time revoked it.
		s.family.Dead = true
	default:
		return res.unexpected("redemption of a new code")
	}
	s.app.Families = append(s.app.Families, s.family)
	return nil
}

func (d *Driver) refresh(ctx context.Context, s *step) error {
	f := s.family
	res, out, err := d.token(ctx, s.app, Refresh(f.refresh))
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusOK:
		f.spent = append(f.spent, f.refresh)
		f.access, f.refresh = out.Access, out.Refresh
		d.Refreshes++
	case refused(res, out) && s.again && !d.cfg.Leeway:
		f.Dead = true
	default:
		return res.unexpected("use of a new refresh token")
	}
	f.Generation++
	return nil
}

// replay presents what was used before.
func (d *Driver) replay(ctx context.Context, s *step) error {
	form := Redemption(s.family.code)
	spent := s.family.spent
	if d.cfg.Leeway && len(spent) > 0 {
		spent = spent[:len(spent)-1] // the last one would pass for a retry
	}
	if len(spent) > 0 && rand.IntN(2) == 0 {
		form = Refresh(spent[rand.IntN(len(spent))])
	}
	res, out, err := d.token(ctx, s.app, form)
	if err != nil {
		return err
	}
	if !refused(res, out) {
		return res.unexpected(form.Get("grant_type") + " for the second time")
	}
	s.family.Dead = true
	return nil
}

func (d *Driver) revoke(ctx context.Context, s *step) error {
	res, err := d.post(ctx, "/oauth/revoke", url.Values{
		"token": {s.family.refresh}, "client_id": {s.app.ID}, "client_secret": {s.app.secret},
	})
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return res.unexpected("revocation")
	}
	s.family.Dead = true
	return nil
}

func (d *Driver) remove(ctx context.Context, s *step) error {
	res, err := d.send(ctx, http.MethodDelete, d.cfg.Issuer+"/api/v2/clients/"+s.app.ID, "", d.management, "")
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusNoContent {
		return res.unexpected("deletion")
	}
	s.app.Deleted = true
	for _, f := range s.app.Families {
		f.Dead = true
	}
	return nil
}

// userinfo checks that an access token is as alive as its family.
func (d *Driver) userinfo(ctx context.Context, app *Application, f *Family) error {
	if f.access == "" {
		return nil // the answer was lost
	}
	res, err := d.send(ctx, http.MethodGet, d.cfg.Issuer+"/userinfo", "", f.access, "")
	if err != nil {
		return err
	}
	want := http.StatusOK
	if f.Dead {
		want = http.StatusUnauthorized
	}
	if res.StatusCode != want {
		return res.unexpected(fmt.Sprintf("userinfo (want %d) of application %s, deleted: %t", want, app.ID, app.Deleted))
	}
	return nil
}

// obtainManagement gets a token for the management API.
func (d *Driver) obtainManagement(ctx context.Context) error {
	res, out, err := d.token(ctx, &Application{ID: d.cfg.ClientID, secret: d.cfg.ClientSecret}, url.Values{
		"grant_type": {"client_credentials"}, "audience": {d.cfg.Issuer + "/api/v2/"},
	})
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return res.unexpected("token for the management API")
	}
	d.management = out.Access
	return nil
}
