package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds of an outbound request.
const (
	outboundTimeout = 5 * time.Second
	dialTimeout     = 2 * time.Second // per address
	maxAddresses    = 8               // tried of one name
	maxFetched      = 64 << 10
	maxHeader       = 16 << 10
)

// Reasons why an outbound request fails. Everything else that can go wrong (a name
// that does not resolve, a certificate, a time limit) has no error of its own.
// The text of an error names addresses and hosts: it is for the log.
var (
	// ErrForbiddenURL: the URL is not an https URL with a plain host.
	ErrForbiddenURL = errors.New("httpx: the URL must not be asked for")
	// ErrForbiddenAddress: the host has no address on the internet.
	ErrForbiddenAddress = errors.New("httpx: the address must not be connected to")
	// ErrTooLarge: the response is longer than 64 KiB.
	ErrTooLarge = errors.New("httpx: the response is too large")
)

// StatusError is a response with a status that is not a success. Redirects are
// among them: they are not followed.
type StatusError struct{ Status int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("httpx: the response has the status %d", e.Status)
}

// OutboundConfig is what an [Outbound] is made of. The zero value is the safest.
type OutboundConfig struct {
	// InsecureAllow are addresses that may be connected to although they are not on
	// the internet, for test suites. The rest of the rules hold for them too.
	InsecureAllow []netip.Prefix
	// RootCAs are the authorities that servers' certificates are checked against.
	// Nil: those of the system.
	RootCAs *x509.CertPool

	// resolve looks a name up. Nil: net.DefaultResolver. Tests replace it.
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Outbound sends requests to URLs that strangers registered. It speaks https only,
// to hosts on the internet only, follows no redirect, uses no proxy, sends no
// cookie and bounds time (five seconds in all) and size (64 KiB).
//
// The address is checked when the connection is made, after the name was looked
// up and on the very address that is connected to: a name that gives another
// answer the second time gains nothing. It is safe for concurrent use.
type Outbound struct {
	cfg    OutboundConfig
	dialer net.Dialer
	client *http.Client
}

// NewOutbound returns the client that cfg describes.
func NewOutbound(cfg OutboundConfig) *Outbound {
	cfg.InsecureAllow = slices.Clone(cfg.InsecureAllow)
	if cfg.resolve == nil {
		cfg.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	o := &Outbound{cfg: cfg}
	o.dialer = net.Dialer{Timeout: dialTimeout, ControlContext: o.checkSocket}
	o.client = &http.Client{
		Timeout: outboundTimeout,
		Transport: &http.Transport{
			// No Proxy: it would look names up itself and connect to what it likes.
			DialContext:     o.dial,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
			// A response that unfolds in memory would not be bounded by its length.
			DisableCompression: true,
			// Requests are rare, and each is to pass the check of its address.
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return o
}

// Client returns a client for libraries that want one: what it sends, and what it
// takes in, is under the same rules. A response that is too large fails with
// [ErrTooLarge] while its body is read.
func (o *Outbound) Client() *http.Client {
	client := *o.client
	client.Transport = ruled{client.Transport}
	return &client
}

// ruled applies to each request what is not a matter of connections.
type ruled struct{ next http.RoundTripper }

func (t ruled) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkOutboundURL(r.URL.String()); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	if r.Header.Get("User-Agent") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", userAgent)
	}
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &boundedBody{ReadCloser: res.Body, left: maxFetched}
	return res, nil
}

// boundedBody fails with ErrTooLarge once more than left bytes were read.
type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}

const userAgent = "opkit"

// Fetched is a document.
type Fetched struct {
	Header http.Header
	Body   []byte
}

// Fetch gets a document. accept is the Accept header, empty for none. Any status
// other than 200 is a [*StatusError].
func (o *Outbound) Fetch(ctx context.Context, rawURL, accept string) (Fetched, error) {
	header := http.Header{}
	if accept != "" {
		header.Set("Accept", accept)
	}
	res, body, err := o.do(ctx, http.MethodGet, rawURL, header, nil)
	if err != nil {
		return Fetched{}, err
	}
	if res.StatusCode != http.StatusOK {
		return Fetched{}, &StatusError{res.StatusCode}
	}
	return Fetched{Header: res.Header, Body: body}, nil
}

// Post sends a form. Any status other than 2xx is a [*StatusError].
func (o *Outbound) Post(ctx context.Context, rawURL string, form url.Values) error {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	res, _, err := o.do(ctx, http.MethodPost, rawURL, header, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return &StatusError{res.StatusCode}
	}
	return nil
}

func (o *Outbound) do(ctx context.Context, method, rawURL string, header http.Header, body io.Reader) (*http.Response, []byte, error) {
	if err := checkOutboundURL(rawURL); err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, rawURL, body)
	if err != nil {
		return nil, nil, ErrForbiddenURL
	}
	req.Header = header
	req.Header.Set("User-Agent", userAgent)
	res, err := o.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(io.LimitReader(res.Body, maxFetched+1))
	if err != nil {
		return nil, nil, err
	}
	if len(content) > maxFetched {
		return nil, nil, ErrTooLarge
	}
	return res, content, nil
}

func checkOutboundURL(rawURL string) error {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return fmt.Errorf("%w: it cannot be parsed", ErrForbiddenURL)
	case u.Scheme != "https":
		return fmt.Errorf("%w: its scheme is not https", ErrForbiddenURL)
	case u.Opaque != "" || u.Hostname() == "":
		return fmt.Errorf("%w: it has no host", ErrForbiddenURL)
	case u.User != nil:
		// It would be sent as an Authorization header of the stranger's choice.
		return fmt.Errorf("%w: it has user information", ErrForbiddenURL)
	}
	return nil
}

// dial looks the host up once and connects to the first of its addresses that is
// permitted and answers.
func (o *Outbound) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := o.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	err = fmt.Errorf("%w: %s", ErrForbiddenAddress, host)
	tried := 0
	for _, addr := range addrs {
		if addr = addr.Unmap(); !o.permitted(addr) {
			continue
		}
		if tried++; tried > maxAddresses {
			break
		}
		var conn net.Conn
		if conn, err = o.dialer.DialContext(ctx, network, net.JoinHostPort(addr.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (o *Outbound) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	return o.cfg.resolve(ctx, host)
}

// permitted reports whether addr may be connected to.
func (o *Outbound) permitted(addr netip.Addr) bool {
	return isPublic(addr) || contains(o.cfg.InsecureAllow, addr)
}

// checkSocket is the last word: it sees the address that the socket is about to
// connect to.
func (o *Outbound) checkSocket(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !o.permitted(ap.Addr().Unmap()) {
		return fmt.Errorf("%w: %s", ErrForbiddenAddress, address)
	}
	return nil
}
