package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"time"
)

// maxBody is more than any endpoint reads.
const maxBody = 1 << 20

// balancer hands requests to the nodes in turn. It needs no affinity: whatever one node
// began, another one can go on with.
type balancer struct {
	transport *http.Transport
	proxy     *httputil.ReverseProxy

	mu    sync.Mutex
	nodes []string // addresses of those that take requests
	all   []string // those that were added and not removed
	next  int
}

func newBalancer() *balancer {
	b := &balancer{transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.proxy = &httputil.ReverseProxy{
		Transport: b,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.Host = r.In.Host
			r.Out.URL.Scheme = "http"
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			// Whether the node did what it was asked for is not known.
			http.Error(w, http.StatusText(http.StatusBadGateway), http.StatusBadGateway)
		},
	}
	return b
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Kept, so that it can be sent to another node if the first one cannot be reached.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, http.StatusText(http.StatusRequestEntityTooLarge), http.StatusRequestEntityTooLarge)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	b.proxy.ServeHTTP(w, r)
}

var errNoNode = errors.New("no node is ready")

// RoundTrip sends a request to the next node. Only if no connection could be made, so
// that nothing was sent, it goes to the one after that.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	tried := 0
	for {
		node := b.pick()
		if node == "" {
			return nil, errNoNode
		}
		out := r.Clone(r.Context())
		out.URL.Host = node
		if r.GetBody != nil {
			out.Body, _ = r.GetBody() // never fails
		}
		res, err := b.transport.RoundTrip(out)
		failure, ok := errors.AsType[*net.OpError](err)
		if !ok || failure.Op != "dial" {
			return res, err
		}
		b.leave(node)
		if tried++; tried == 10 {
			return nil, err
		}
	}
}

func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.nodes) == 0 {
		return ""
	}
	b.next++
	return b.nodes[b.next%len(b.nodes)]
}

// join adds a node, leave sends no more requests to it until it is well again, and
// remove forgets it.
func (b *balancer) join(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all, b.nodes = append(b.all, node), append(b.nodes, node)
}

func (b *balancer) leave(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = slices.DeleteFunc(b.nodes, func(n string) bool { return n == node })
}

func (b *balancer) remove(node string) {
	b.leave(node)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = slices.DeleteFunc(b.all, func(n string) bool { return n == node })
}

// watch asks the nodes for their health until ctx ends.
func (b *balancer) watch(ctx context.Context) {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	client := &http.Client{Transport: b.transport, Timeout: time.Second}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		b.mu.Lock()
		all := slices.Clone(b.all)
		b.mu.Unlock()
		for _, node := range all {
			healthy := false
			if res, err := client.Get("http://" + node + "/healthz"); err == nil {
				res.Body.Close()
				healthy = res.StatusCode == http.StatusOK
			}
			if !healthy {
				b.leave(node)
				continue
			}
			b.mu.Lock()
			if slices.Contains(b.all, node) && !slices.Contains(b.nodes, node) {
				b.nodes = append(b.nodes, node)
			}
			b.mu.Unlock()
		}
	}
}
