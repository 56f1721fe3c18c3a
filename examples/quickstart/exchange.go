package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/opkit/opkit/examples/internal/browser"
)

// printer is a transport that prints every request and its answer.
type printer struct {
	next http.RoundTripper
	out  io.Writer
}

// printed are the headers that matter to a reader.
var printed = []string{"Authorization", "Content-Type", "Cache-Control", "Location", "Www-Authenticate"}

func (p *printer) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	p.print("> ", fmt.Sprintf("%s %s", req.Method, req.URL), req.Header, sent)
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		fmt.Fprintf(p.out, "< %v\n\n", err)
		return nil, err
	}
	received, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(received))
	shown := received
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		shown = fmt.Appendf(nil, "(the page %q)", browser.Page{Body: string(received)}.Title())
	}
	p.print("< ", resp.Proto+" "+resp.Status, resp.Header, shown)
	fmt.Fprintln(p.out)
	return resp, nil
}

func (p *printer) print(mark, first string, header http.Header, body []byte) {
	fmt.Fprintf(p.out, "%s%s\n", mark, first)
	for _, name := range printed {
		for _, value := range header[name] {
			fmt.Fprintf(p.out, "%s%s: %s\n", mark, strings.ToLower(name), value)
		}
	}
	if len(body) > 0 {
		fmt.Fprintf(p.out, "%s\n%s%s\n", mark, mark, strings.TrimSpace(string(body)))
	}
}
