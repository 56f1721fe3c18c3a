package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"syscall"
	"time"
)

// server is one listener with its handler.
type server struct {
	url      string // without a slash at the end
	listener net.Listener
	http     *http.Server
}

// listen opens a listener; the address may have port 0. The handler is set later,
// because it may depend on the port.
func listen(addr string, cert *certificate) (*server, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w; if another quickstart is running, give this one -addr 127.0.0.1:0, -app-addr 127.0.0.1:0 and a -db of its own", err)
	}
	if err != nil {
		return nil, err
	}
	s := &server{url: "http://" + reachable(l.Addr()), listener: l, http: &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}}
	if cert != nil {
		s.url = "https://" + reachable(l.Addr())
		s.listener = tls.NewListener(l, &tls.Config{
			Certificates: []tls.Certificate{cert.server},
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"http/1.1"},
		})
	}
	return s, nil
}

// reachable turns a listener's address into one that a client can use.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return a.String()
}

// serveAll serves until ctx ends, then finishes the requests in progress.
func serveAll(ctx context.Context, servers []*server) error {
	failed := make(chan error, len(servers))
	for _, s := range servers {
		go func() { failed <- s.http.Serve(s.listener) }()
	}
	var errs []error
	select {
	case <-ctx.Done():
	case err := <-failed:
		errs = append(errs, err)
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, s := range servers {
		if err := s.http.Shutdown(shutdown); err != nil { // a request takes too long
			errs = append(errs, s.http.Close())
		}
	}
	return errors.Join(errs...)
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// profiler serves net/http/pprof on its own address, never on the provider's.
func profiler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
