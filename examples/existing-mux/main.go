package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/opkit/opkit/examples/internal/listen"
	"github.com/opkit/opkit/token"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8090", "`address` to serve on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *addr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "existing-mux:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string) error {
	listener, err := listen.On(addr, "-addr")
	if err != nil {
		return err
	}
	handler, err := newHandler(ctx, "http://"+listener.Addr().String(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	fmt.Printf(`The Gear Shop is open at http://%[1]s
Customers: ada@example.com with the password shop-cust-1815, and grace@example.com with shop-cust-1906.
An application finds everything it needs at http://%[1]s/.well-known/openid-configuration
It may read a customer's orders at http://%[1]s/api/orders if it asks for them:
scope=%[3]s and audience=%[2]s
Ctrl-C closes the shop.
`, listener.Addr(), ordersAPI, ordersScope)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = server.Shutdown(shutdown)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newHandler returns the shop with opkit in it, reached at base.
func newHandler(ctx context.Context, base string, logger *slog.Logger) (http.Handler, error) {
	u, err := newUsers()
	if err != nil {
		return nil, err
	}
	s := newShop(base, u)
	secret := make([]byte, 32) // as short-lived as the data, which is in memory
	rand.Read(secret)
	p, err := newProvider(ctx, s, secret, logger)
	if err != nil {
		return nil, err
	}
	verifier, err := token.NewVerifier(token.VerifierConfig{Issuer: base, Audience: ordersAPI, Logger: logger})
	if err != nil {
		return nil, err
	}
	go p.Run(ctx) // ends with ctx, which is the only error it returns
	mux := http.NewServeMux()
	s.routes(mux)
	mount(mux, p)
	mux.Handle("GET /api/orders", s.orders(verifier))
	return mux, nil
}

func render(w http.ResponseWriter, status int, page string, data any) {
	var b strings.Builder
	if err := pages.ExecuteTemplate(&b, page, data); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	// The address of the login page carries the address to return to.
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	fmt.Fprint(w, b.String())
}

func writeJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(text)
}

func mustSub() fs.FS {
	sub, err := fs.Sub(files, "pages")
	if err != nil {
		panic(err) // never: the directory is embedded
	}
	return sub
}
