package dcr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opkit/opkit/internal/httpx"
	"github.com/opkit/opkit/internal/oauth"
	"github.com/opkit/opkit/store"
	"github.com/opkit/opkit/tenant"
)

// Nothing tells a stranger why a fetch failed: that would map what the provider can
// reach.
func TestFailedFetchesLookTheSame(t *testing.T) {
	answers := map[string]bool{}
	for name, err := range map[string]error{
		"404": &httpx.StatusError{Status: 404}, "302": &httpx.StatusError{Status: 302}, "304": &httpx.StatusError{Status: 304}, "201": &httpx.StatusError{Status: 201},
		"500": &httpx.StatusError{Status: 500}, "too large": httpx.ErrTooLarge, "inside": fmt.Errorf("%w: 10.0.0.1:443", httpx.ErrForbiddenAddress),
		"loopback": fmt.Errorf("%w: [::1]:443", httpx.ErrForbiddenAddress), "no such name": errors.New("lookup app.example.com: no such host"),
		"refused": errors.New("connection refused"), "slow": context.DeadlineExceeded,
	} {
		f, w := published(t, options{})
		w.put(documentURL, webPage{err: err})
		_, err := f.resolve(documentURL)
		f.unusable(name, err, "cannot be fetched")
		answers[oauth.AsError(err).Description] = true
	}
	if len(answers) != 1 {
		t.Errorf("answers %v", answers)
	}
}

func TestContentTypes(t *testing.T) {
	for contentType, ok := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON": true, "application/client-metadata+json": true,
		"text/html": false, "text/json": false, "text/plain": false, "application/jsonp": false, "application/json+x": false, "image/svg+json": false,
		"application/octet-stream": false, "application/jwk-set": false, "application/": false, "json": false, ";": false,
	} {
		f, w := published(t, options{})
		w.put(documentURL, webPage{body: document(""), contentType: contentType})
		_, err := f.resolve(documentURL)
		switch {
		case ok && err != nil:
			t.Errorf("%q: %v", contentType, err)
		case !ok:
			f.unusable(contentType, err, "content type")
		}
	}
	if isJSON("") {
		t.Error("no content type is one")
	}
}

// A document is used as long as its headers say, within bounds.
func TestDocumentsAreKept(t *testing.T) {
	for _, c := range []struct {
		cacheControl string
		kept         time.Duration
	}{
		{"", documentFresh},
		{"max-age=3600", time.Hour},
		{"max-age=0", minDocumentFresh},
		{"no-store", minDocumentFresh},
		{"no-cache", minDocumentFresh},
		{"max-age=31536000", maxDocumentFresh},
	} {
		f, w := published(t, options{})
		w.put(documentURL, webPage{body: document(""), cacheControl: c.cacheControl})
		ask := func(after time.Duration, want int) {
			t.Helper()
			f.now = start.Add(after)
			if _, err := f.resolve(documentURL); err != nil {
				t.Fatal(err)
			}
			if n := w.times(); n != want {
				t.Errorf("%q: asked %d times after %v, want %d", c.cacheControl, n, after, want)
			}
		}
		ask(0, 1)
		ask(c.kept-time.Microsecond, 1)
		ask(c.kept, 2)
		// A clock that is set back asks again instead of using a document for ever.
		ask(-time.Hour, 3)
	}
}

// What failed is not asked for again at once, is not remembered for long, and an
// older document is not used in its place.
func TestFailuresCoolDown(t *testing.T) {
	for name, bad := range map[string]webPage{
		"no answer": {err: errors.New("connection refused")}, "gone": {err: &httpx.StatusError{Status: http.StatusGone}},
		"no client": {body: document(`"client_secret":"x"`)}, "a page": {body: "<html>", contentType: "text/html"},
	} {
		f, w := published(t, options{})
		if _, err := f.resolve(documentURL); err != nil {
			t.Fatal(err)
		}
		w.put(documentURL, bad)
		f.now = f.now.Add(documentFresh)
		_, first := f.resolve(documentURL)
		f.unusable(name, first, "")
		w.put(documentURL, webPage{body: document("")})
		f.now = f.now.Add(documentCooldown - time.Microsecond)
		_, again := f.resolve(documentURL)
		f.unusable(name, again, oauth.AsError(first).Description)
		if n := w.times(); n != 2 {
			t.Errorf("%s: asked %d times", name, n)
		}
		f.now = f.now.Add(time.Microsecond)
		if _, err := f.resolve(documentURL); err != nil || w.times() != 3 {
			t.Errorf("%s: after the pause: %v, asked %d times", name, err, w.times())
		}
	}
}

// One request fetches for all, and its end is not theirs.
func TestOneFetchForAll(t *testing.T) {
	f, w := published(t, options{})
	w.gate = make(chan struct{})
	const requests = 32
	first, cancel := context.WithCancel(t.Context())
	var ready, done sync.WaitGroup
	errs := make([]error, requests)
	ask := func(i int, ctx context.Context) {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			_, errs[i] = f.registrar.CurrentClients().Client(ctx, tenant.DefaultID, documentURL)
		})
	}
	ask(0, first)
	for w.times() == 0 {
		runtime.Gosched()
	}
	cancel()
	for i := 1; i < requests; i++ {
		ask(i, t.Context())
	}
	impatient, stop := context.WithCancel(t.Context())
	stop()
	if _, err := f.registrar.CurrentClients().Client(impatient, tenant.DefaultID, documentURL); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that ended: %v", err)
	}
	ready.Wait()
	close(w.gate)
	done.Wait()
	if err := errors.Join(errs...); err != nil || w.times() != 1 {
		t.Errorf("%v, asked %d times", err, w.times())
	}
}

// asker returns a context of a request from an address.
func asker(addr string) context.Context {
	return httpx.WithRequester(context.Background(), netip.MustParseAddr(addr))
}

func (f *fixture) tooMany(ctx context.Context, url string) bool {
	f.t.Helper()
	_, err := f.registrar.CurrentClients().Client(ctx, tenant.DefaultID, url)
	e, ok := errors.AsType[*oauth.Error](err)
	if !ok || e.Status != http.StatusTooManyRequests {
		return false
	}
	if e.Code != oauth.CodeTemporarilyUnavailable || e.RetryAfter <= 0 || errors.Is(err, store.ErrNotFound) {
		f.t.Errorf("%v", err)
	}
	return true
}

// Strangers of one network make the provider ask only so often.
func TestFetchesOfANetworkAreLimited(t *testing.T) {
	f, w := published(t, options{})
	url := func(i int) string { return fmt.Sprintf("https://h%d.example/c", i) }
	for i := range fetchBurst {
		if f.tooMany(asker("2001:db8::1"), url(i)) {
			t.Fatalf("request %d", i)
		}
	}
	asked := w.times()
	if !f.tooMany(asker("2001:db8::2"), url(100)) {
		t.Error("another address of the network is not limited")
	}
	if w.times() != asked {
		t.Error("asked for a request that was refused")
	}
	if f.tooMany(asker("2001:db8:1::1"), url(101)) || f.tooMany(asker("192.0.2.1"), url(102)) {
		t.Error("other networks suffer")
	}
	// What is known needs no fetch, what failed a moment ago gets none.
	if f.tooMany(asker("2001:db8::1"), url(0)) || f.tooMany(asker("192.0.2.1"), documentURL) || f.tooMany(asker("2001:db8::1"), documentURL) {
		t.Error("limited, although nothing would be fetched")
	}
	// A document that was good is fetched again whoever asks.
	f.now = f.now.Add(documentFresh)
	for i := range fetchBurst {
		f.tooMany(asker("2001:db8::1"), url(200+i))
	}
	if !f.tooMany(asker("2001:db8::1"), url(300)) || f.tooMany(asker("2001:db8::1"), documentURL) {
		t.Error("a stranger can keep a document from being fetched again")
	}
	f.now = f.now.Add(time.Second)
	if f.tooMany(asker("2001:db8::1"), url(301)) {
		t.Error("still limited after a second")
	}
}

// However many networks they have, strangers make the provider ask one host only so
// often; applications that users have allowed something do not suffer.
func TestFetchesAtAHostAreLimited(t *testing.T) {
	f, w := published(t, options{})
	c, err := f.resolve(documentURL)
	if err != nil {
		t.Fatal(err)
	}
	f.use(c)
	f.registrar.documents.tenants = map[string]*tenantDocuments{} // as after a start
	url := func(i int) string { return fmt.Sprintf("https://app.example.com:%d/c", 1000+i) }
	limited := 0
	for i := range 2 * hostFetchBurst {
		if f.tooMany(asker(fmt.Sprintf("192.0.2.%d", i)), url(i)) {
			limited++
		}
	}
	if limited < hostFetchBurst {
		t.Errorf("%d requests were limited", limited)
	}
	asked := w.times()
	if f.tooMany(asker("198.51.100.1"), documentURL) || w.times() != asked+1 {
		t.Errorf("an application with a record is limited; asked %d times", w.times()-asked)
	}
	if f.tooMany(asker("198.51.100.1"), "https://another.example/c") {
		t.Error("another host suffers")
	}
	// An address has many spellings of a path, but is one host; so has a subscriber's
	// IPv6 network.
	for i := range 2 * hostFetchBurst {
		f.tooMany(context.Background(), fmt.Sprintf("https://[2001:db8::%x]/c", i+1))
	}
	if !f.tooMany(context.Background(), "https://[2001:db8::ffff]/c") {
		t.Error("addresses of one network are hosts of their own")
	}
}

// Slow hosts occupy so many places and no more, and none of known applications.
func TestFetchesAtOnceAreLimited(t *testing.T) {
	f, w := published(t, options{})
	c, err := f.resolve(documentURL)
	if err != nil {
		t.Fatal(err)
	}
	f.use(c)
	f.now = f.now.Add(documentFresh)
	w.gate = make(chan struct{})
	before := w.times()
	var done sync.WaitGroup
	for i := range maxDocumentFetches {
		done.Go(func() { f.resolve(fmt.Sprintf("https://h%d.example/c", i)) })
	}
	for w.times() < before+maxDocumentFetches {
		runtime.Gosched()
	}
	_, err = f.resolve("https://one-more.example/c")
	if e, ok := errors.AsType[*oauth.Error](err); !ok || e.Status != http.StatusServiceUnavailable || e.RetryAfter <= 0 {
		t.Errorf("one more: %v", err)
	}
	var known error
	done.Go(func() { _, known = f.resolve(documentURL) })
	for w.times() < before+maxDocumentFetches+1 {
		runtime.Gosched()
	}
	close(w.gate)
	done.Wait()
	if known != nil {
		t.Errorf("a known application: %v", known)
	}
	w.gate = nil
	if _, err := f.resolve("https://one-more.example/c"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("afterwards: %v", err)
	}
}

// What strangers make the provider remember is bounded, and one tenant's do not push
// out another's.
func TestDocumentsTakeBoundedMemory(t *testing.T) {
	f, w := published(t, options{})
	cache := f.registrar.documents
	get := func(tenant, url string) {
		t.Helper()
		w.put(url, webPage{body: strings.Replace(documentAt(url, redirects(url+"/cb")), "{", `{"x":"`+strings.Repeat("x", 60<<10)+`",`, 1)})
		if _, err := cache.get(t.Context(), documentKey{tenant, url}, 0, true); err != nil {
			t.Fatal(err)
		}
	}
	f.tenants("quiet", "loud")
	get("quiet", documentURL)
	for i := range 200 {
		get("loud", fmt.Sprintf("https://h%d.example/c", i))
	}
	if size := cache.tenants["loud"].size; size > maxTenantDocuments || size < maxTenantDocuments/2 {
		t.Errorf("one tenant: %d bytes", size)
	}
	if cache.lookup(documentKey{"quiet", documentURL}) == nil {
		t.Error("another tenant's document is gone")
	}
	for i := range 400 {
		f.tenants(fmt.Sprint("t", i))
		get(fmt.Sprint("t", i), "https://app.example.com/c")
	}
	if cache.size > maxDocuments || cache.size < maxDocuments/2 {
		t.Errorf("in all: %d bytes", cache.size)
	}
	sum := 0
	for _, tn := range cache.tenants {
		of := 0
		for _, e := range tn.entries {
			of += e.size
		}
		if of != tn.size || of == 0 {
			t.Fatalf("%d bytes counted, %d are there", tn.size, of)
		}
		sum += of
	}
	if sum != cache.size {
		t.Errorf("%d bytes counted, %d are there", cache.size, sum)
	}
	// Failures count too.
	for i := range 20_000 {
		cache.get(t.Context(), documentKey{"failing", fmt.Sprintf("https://h%d.example/none", i)}, 0, true)
	}
	if size := cache.tenants["failing"].size; size > maxTenantDocuments {
		t.Errorf("failures: %d bytes", size)
	}
}

func TestRequesterIsAsked(t *testing.T) {
	f, _ := published(t, options{})
	for i := range 2 * fetchBurst { // an address of this machine is a proxy
		if f.tooMany(asker("127.0.0.1"), fmt.Sprintf("https://h%d.example/c", i)) || f.tooMany(context.Background(), fmt.Sprintf("https://g%d.example/c", i)) {
			t.Fatal("limited")
		}
	}
}
