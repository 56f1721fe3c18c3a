package browser

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
)

// Browser is one person's browser, with its cookies.
type Browser struct {
	// Stop is the beginning of the addresses that are not visited, which are those
	// of the application: the browser arrives there with an empty page.
	Stop string

	client *http.Client
}

// Page is where a browser is.
type Page struct {
	Address *url.URL
	Status  int
	Body    string
}

// New returns a browser without cookies.
func New(transport http.RoundTripper, stop string) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // never: there are no options
	}
	return &Browser{Stop: stop, client: &http.Client{
		Transport: transport,
		Jar:       jar,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// Open visits an address.
func (b *Browser) Open(ctx context.Context, address string) (Page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Page{}, err
	}
	return b.visit(req)
}

// Submit fills in the first form of p and sends it with the button that
// [Page.Button] returned; empty if it has neither name nor value.
func (b *Browser) Submit(ctx context.Context, p Page, fill map[string]string, button string) (Page, error) {
	form, err := findForm(p)
	if err != nil {
		return Page{}, err
	}
	for name, value := range fill {
		if !form.fields.Has(name) {
			return Page{}, fmt.Errorf("the form at %s has no field %s", p.Address, name)
		}
		form.fields.Set(name, value)
	}
	if name, value, ok := strings.Cut(button, "="); ok {
		form.fields.Set(name, value)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, form.action, strings.NewReader(form.fields.Encode()))
	if err != nil {
		return Page{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", p.Address.Scheme+"://"+p.Address.Host)
	return b.visit(req)
}

func (b *Browser) visit(req *http.Request) (Page, error) {
	for range 10 {
		resp, err := b.client.Do(req)
		if err != nil {
			return Page{}, err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return Page{}, err
		}
		location, err := resp.Location()
		if errors.Is(err, http.ErrNoLocation) {
			return Page{Address: req.URL, Status: resp.StatusCode, Body: string(body)}, nil
		}
		if err != nil {
			return Page{}, err
		}
		if strings.HasPrefix(location.String(), b.Stop) {
			return Page{Address: location, Status: resp.StatusCode}, nil
		}
		if req, err = http.NewRequestWithContext(req.Context(), http.MethodGet, location.String(), nil); err != nil {
			return Page{}, err
		}
	}
	return Page{}, errors.New("more than 10 redirects")
}

// form is a form of a page.
type form struct {
	action string
	fields url.Values
}

var (
	formTag   = regexp.MustCompile(`(?is)<form\b([^>]*)>(.*?)</form>`)
	inputTag  = regexp.MustCompile(`(?is)<(?:input|button)\b([^>]*)>`)
	attribute = regexp.MustCompile(`(?s)([a-zA-Z-]+)(?:\s*=\s*"([^"]*)")?`)
	titleTag  = regexp.MustCompile(`(?is)<title>(.*?)</title>`)
)

// findForm reads the first form of the provider's own pages, which is all the HTML
// that this browser has to understand.
func findForm(p Page) (form, error) {
	found := formTag.FindStringSubmatch(p.Body)
	if found == nil {
		return form{}, fmt.Errorf("the page %q at %s has no form", p.Title(), p.Address)
	}
	action, err := p.Address.Parse(attributes(found[1])["action"])
	if err != nil {
		return form{}, err
	}
	f := form{action: action.String(), fields: url.Values{}}
	for _, tag := range inputTag.FindAllStringSubmatch(found[2], -1) {
		a := attributes(tag[1])
		_, checked := a["checked"]
		if a["name"] == "" || a["type"] == "submit" || a["type"] == "checkbox" && !checked || strings.HasPrefix(strings.ToLower(tag[0]), "<button") {
			continue
		}
		f.fields.Set(a["name"], a["value"])
	}
	return f, nil
}

// Button returns name=value of the button with that id.
func (p Page) Button(id string) (string, error) {
	for _, tag := range inputTag.FindAllStringSubmatch(p.Body, -1) {
		if a := attributes(tag[1]); a["id"] == id {
			if a["name"] == "" {
				return "", nil
			}
			return a["name"] + "=" + a["value"], nil
		}
	}
	return "", fmt.Errorf("the page %q at %s has no button %s", p.Title(), p.Address, id)
}

// Title returns the text of the page's title.
func (p Page) Title() string {
	if found := titleTag.FindStringSubmatch(p.Body); found != nil {
		return strings.TrimSpace(html.UnescapeString(found[1]))
	}
	return ""
}

func attributes(tag string) map[string]string {
	all := map[string]string{}
	for _, a := range attribute.FindAllStringSubmatch(tag, -1) {
		all[strings.ToLower(a[1])] = html.UnescapeString(a[2])
	}
	return all
}
