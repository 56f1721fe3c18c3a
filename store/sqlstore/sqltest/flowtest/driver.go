package flowtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
)

// ErrNoAnswer means that the provider did not answer: it may have done what it was
// asked for, or not. Every other error of a [Driver] is a fault of the provider.
var ErrNoAnswer = errors.New("no answer")

// Config says whom a driver talks to.
type Config struct {
	// Issuer is the provider's, and Transport takes requests there.
	Issuer    string
	Transport http.RoundTripper
	// Username and Password are those of a user who is the driver's alone.
	Username, Password string
	// ClientID and ClientSecret are those of a client that may delete clients.
	ClientID, ClientSecret string
	// Leeway says that the provider takes a rotated refresh token for a retry for a
	// while. Otherwise the driver insists that it is used once.
	Leeway bool
}

// maxApplications and maxFamilies are how many of each a driver uses at a time.
const (
	maxApplications = 3
	maxFamilies     = 4
)

// Driver is a person with a browser, and the applications that the person uses. Its
// methods are called one after the other.
type Driver struct {
	// Applications are those whose registration was acknowledged, the deleted ones
	// included.
	Applications []*Application
	// Refreshes counts the acknowledged ones, Logins the forms that had to be filled
	// in.
	Refreshes, Logins int

	cfg        Config
	client     *http.Client
	management string // a token
	signedIn   bool   // acknowledged: the login page must not be seen again
	pending    *step  // what got no answer
}

// step is what a driver does with one request, and does again if there was no
// answer.
type step struct {
	kind   kind
	app    *Application
	family *Family
	again  bool
}

type kind string

const (
	redeem  kind = "redeem"
	refresh kind = "refresh"
	replay  kind = "replay"
	revoke  kind = "revoke"
	remove  kind = "delete"
)

// New returns a driver that has done nothing yet.
func New(cfg Config) *Driver {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // never: there are no options
	}
	return &Driver{cfg: cfg, client: &http.Client{
		Transport:     cfg.Transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Resume repeats the request that got no answer, if there is one, as its sender
// would. Afterwards the driver knows again what there is.
func (d *Driver) Resume(ctx context.Context) error {
	if d.pending == nil {
		return nil
	}
	d.pending.again = true
	return d.do(ctx, *d.pending)
}

// Step does one thing that a person or an application might do.
func (d *Driver) Step(ctx context.Context) error {
	if d.management == "" {
		return d.obtainManagement(ctx)
	}
	app := d.anyApplication()
	if app == nil {
		return d.register(ctx)
	}
	family := app.anyFamily()
	n := rand.IntN(100)
	switch {
	case n < 10 && d.live() < maxApplications:
		return d.register(ctx)
	case family == nil || n < 30 && app.live() < maxFamilies:
		return d.signIn(ctx, app)
	case n < 80:
		return d.do(ctx, step{kind: refresh, app: app, family: family})
	case n < 86:
		return d.userinfo(ctx, app, app.Families[rand.IntN(len(app.Families))])
	case n < 92:
		return d.do(ctx, step{kind: replay, app: app, family: family})
	case n < 97:
		return d.do(ctx, step{kind: revoke, app: app, family: family})
	default:
		return d.do(ctx, step{kind: remove, app: app})
	}
}

// Check asks for everything that was acknowledged.
func (d *Driver) Check(ctx context.Context) error {
	for _, app := range d.Applications {
		for _, f := range app.Families {
			if err := d.userinfo(ctx, app, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// do makes the request of s, and keeps s until there is an answer.
func (d *Driver) do(ctx context.Context, s step) error {
	d.pending = &s
	var err error
	switch s.kind {
	case redeem:
		err = d.redeem(ctx, &s)
	case refresh:
		err = d.refresh(ctx, &s)
	case replay:
		err = d.replay(ctx, &s)
	case revoke:
		err = d.revoke(ctx, &s)
	case remove:
		err = d.remove(ctx, &s)
	}
	if !errors.Is(err, ErrNoAnswer) {
		d.pending = nil
	}
	return err
}

func (d *Driver) live() int { return len(d.liveApplications()) }

func (d *Driver) liveApplications() []*Application {
	return slices.DeleteFunc(slices.Clone(d.Applications), func(a *Application) bool { return a.Deleted })
}

func (d *Driver) anyApplication() *Application {
	live := d.liveApplications()
	if len(live) == 0 {
		return nil
	}
	return live[rand.IntN(len(live))]
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// unexpected is the error for an answer that the provider should not have given.
func (a answer) unexpected(what string) error {
	return fmt.Errorf("%s: %s %s %.500s", what, a.Status, a.Header.Get("Location"), a.body)
}

func (d *Driver) send(ctx context.Context, method, address, contentType, bearer, body string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := d.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	if res.StatusCode == http.StatusBadGateway {
		// A load balancer's, which lost the provider on the way.
		return answer{}, fmt.Errorf("%w: %s %s", ErrNoAnswer, res.Status, text)
	}
	return answer{res, string(text)}, nil
}

func (d *Driver) post(ctx context.Context, path string, form url.Values) (answer, error) {
	return d.send(ctx, http.MethodPost, d.cfg.Issuer+path, "application/x-www-form-urlencoded", "", form.Encode())
}
