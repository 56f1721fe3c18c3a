package main

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

// browser does what a person does with the provider's pages: it follows
// redirects, keeps cookies, fills in forms. It has no scripts; the pages need none.
type browser struct {
	client *http.Client
	// stop is the prefix of addresses that are not visited: the application's.
	stop string
}

// page is where the browser is.
type page struct {
	address *url.URL
	status  int
	body    string
}

func newBrowser(transport http.RoundTripper, stop string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // never: there are no options
	}
	return &browser{stop: stop, client: &http.Client{
		Transport: transport,
		Jar:       jar,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// open visits an address and follows redirects up to one that it must not visit.
func (b *browser) open(ctx context.Context, address string) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return page{}, err
	}
	return b.visit(req)
}

// submit fills in the first form of p and sends it. button is the name=value of
// the button, empty if it has none.
func (b *browser) submit(ctx context.Context, p page, fill map[string]string, button string) (page, error) {
	form, err := findForm(p)
	if err != nil {
		return page{}, err
	}
	for name, value := range fill {
		if !form.fields.Has(name) {
			return page{}, fmt.Errorf("the form at %s has no field %s", p.address, name)
		}
		form.fields.Set(name, value)
	}
	if name, value, ok := strings.Cut(button, "="); ok {
		form.fields.Set(name, value)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, form.action, strings.NewReader(form.fields.Encode()))
	if err != nil {
		return page{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", p.address.Scheme+"://"+p.address.Host)
	return b.visit(req)
}

func (b *browser) visit(req *http.Request) (page, error) {
	for range 10 {
		resp, err := b.client.Do(req)
		if err != nil {
			return page{}, err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if err != nil {
			return page{}, err
		}
		location, err := resp.Location()
		if errors.Is(err, http.ErrNoLocation) {
			return page{address: req.URL, status: resp.StatusCode, body: string(body)}, nil
		}
		if err != nil {
			return page{}, err
		}
		if strings.HasPrefix(location.String(), b.stop) {
			return page{address: location, status: resp.StatusCode}, nil
		}
		if req, err = http.NewRequestWithContext(req.Context(), http.MethodGet, location.String(), nil); err != nil {
			return page{}, err
		}
	}
	return page{}, errors.New("more than 10 redirects")
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
func findForm(p page) (form, error) {
	found := formTag.FindStringSubmatch(p.body)
	if found == nil {
		return form{}, fmt.Errorf("the page %q at %s has no form", p.title(), p.address)
	}
	action, err := p.address.Parse(attributes(found[1])["action"])
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

// button returns name=value of the button with that id.
func (p page) button(id string) (string, error) {
	for _, tag := range inputTag.FindAllStringSubmatch(p.body, -1) {
		if a := attributes(tag[1]); a["id"] == id {
			if a["name"] == "" {
				return "", nil
			}
			return a["name"] + "=" + a["value"], nil
		}
	}
	return "", fmt.Errorf("the page %q at %s has no button %s", p.title(), p.address, id)
}

func (p page) title() string {
	if found := titleTag.FindStringSubmatch(p.body); found != nil {
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
