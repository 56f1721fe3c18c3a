package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/store/sqlstore/sqltest/flowtest"
)

// direct sends requests to one node, past the balancer.
type direct string

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Host, out.URL.Host = r.URL.Host, string(d)
	return http.DefaultTransport.RoundTrip(out)
}

// Nodes that get the same code, or the same refresh token, at the same time.
func TestOfSeveralNodesOneWins(t *testing.T) {
	const each = 2 // requests to each node
	c := newCluster(t, 1, nodeConfig{SingleUse: true})
	d, ctx := c.drivers[0], t.Context()
	if err := d.Register(ctx); err != nil {
		t.Fatal(err)
	}
	app := d.Applications[0]
	var nodes []*flowtest.Driver
	for i := range testNodes * each {
		nodes = append(nodes, flowtest.New(flowtest.Config{Issuer: c.config.Issuer, Transport: direct(c.nodes[i%testNodes].address)}))
	}
	wins := make([]int, testNodes)
	// race sends one request to all and returns the refresh token that the winner got.
	race := func(form url.Values) string {
		t.Helper()
		begin, winners := make(chan struct{}), make([]string, len(nodes))
		var running sync.WaitGroup
		for i, node := range nodes {
			form := url.Values(http.Header(form).Clone())
			running.Go(func() {
				<-begin
				status, code, token, err := node.Token(ctx, app, form)
				switch {
				case err != nil:
					t.Error(err)
				case status == http.StatusOK:
					winners[i] = token
				case status != http.StatusBadRequest || code != "invalid_grant":
					t.Errorf("a loser was answered %d %s", status, code)
				}
			})
		}
		close(begin)
		running.Wait()
		won := ""
		for i, token := range winners {
			if token == "" {
				continue
			}
			if won != "" {
				t.Fatalf("%s: more than one won", form.Get("grant_type"))
			}
			won = token
			wins[i%testNodes]++
		}
		if won == "" {
			t.Fatalf("%s: nobody won", form.Get("grant_type"))
		}
		return won
	}
	authorize := func() string {
		t.Helper()
		code, err := d.Authorize(ctx, app)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	for range *rounds {
		token := race(flowtest.Redemption(authorize()))
		// The losers presented it again, and so it is worth nothing.
		if status, code, _, err := d.Token(ctx, app, flowtest.Refresh(token)); err != nil || status != http.StatusBadRequest {
			t.Fatalf("the refresh token of a code that came twice: %d %s %v", status, code, err)
		}
		status, code, token, err := d.Token(ctx, app, flowtest.Redemption(authorize()))
		if err != nil || status != http.StatusOK {
			t.Fatalf("redemption: %d %s %v", status, code, err)
		}
		token = race(flowtest.Refresh(token))
		if status, code, _, err := d.Token(ctx, app, flowtest.Refresh(token)); err != nil || status != http.StatusBadRequest {
			t.Fatalf("the successor of a refresh token that came twice: %d %s %v", status, code, err)
		}
	}
	t.Logf("%d codes and as many refresh tokens, won by each node: %v", *rounds, wins)
}

// staleness is the default of opkit.Config.CacheStaleness.
const staleness = 5 * time.Second

// A key that one node made is published by all of them in time, and what it signs is
// accepted by all at once.
func TestEveryNodeSeesANewKey(t *testing.T) {
	c := newCluster(t, 0, nodeConfig{})
	ask := func(node int, method, path, bearer string, form url.Values, out any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, c.config.Issuer+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		res, err := direct(c.nodes[node].address).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode >= 300 {
			t.Fatalf("%s %s at node %d: %s", method, path, node, res.Status)
		}
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			t.Fatal(err)
		}
	}
	published := func(node int) (ids []string) {
		t.Helper()
		var set struct {
			Keys []struct {
				ID string `json:"kid"`
			} `json:"keys"`
		}
		ask(node, http.MethodGet, "/.well-known/jwks.json", "", nil, &set)
		for _, key := range set.Keys {
			ids = append(ids, key.ID)
		}
		return ids
	}
	management := func(node int) string {
		t.Helper()
		var out struct {
			Token string `json:"access_token"`
		}
		ask(node, http.MethodPost, "/oauth/token", "", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {operatorID}, "client_secret": {operatorSecret},
			"audience": {c.config.Issuer + "/api/v2/"},
		}, &out)
		return out.Token
	}
	for i := range c.nodes {
		published(i) // so that there is something stale
	}
	for maker := range c.nodes {
		var made any
		ask(maker, http.MethodPost, "/api/v2/keys/signing/rotate", management(maker), nil, &made)
		at := time.Now()
		want := published(maker)
		token := management(maker)
		for i := range c.nodes {
			// What the new key may have signed makes a node look for it. The first time
			// nothing does, and the cache has to notice.
			if maker > 0 {
				var keys any
				ask(i, http.MethodGet, "/api/v2/keys/signing", token, nil, &keys)
			}
			missing := func() bool {
				has := published(i)
				return slices.ContainsFunc(want, func(id string) bool { return !slices.Contains(has, id) })
			}
			for missing() {
				if late := time.Since(at); late > staleness+time.Second {
					t.Fatalf("node %d does not publish the key of node %d after %v", i, maker, late)
				}
				<-time.After(20 * time.Millisecond)
			}
			t.Logf("node %d published the key of node %d after %v", i, maker, time.Since(at).Round(time.Millisecond))
		}
	}
}
