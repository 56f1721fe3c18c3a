package opkit_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
)

// The floor is a server that does what no provider can avoid: parse the request,
// make the one signature that the response needs, write JSON. It checks nothing
// and remembers nothing.
func floorHandler() http.Handler {
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	signES := func(payload any) string {
		input := joseInput(`{"alg":"ES256","kid":"floor"}`, payload)
		sum := sha256.Sum256([]byte(input))
		der, err := ecdsa.SignASN1(rand.Reader, es, sum[:])
		if err != nil {
			panic(err)
		}
		var sig struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &sig); err != nil {
			panic(err)
		}
		var raw [64]byte
		sig.R.FillBytes(raw[:32])
		sig.S.FillBytes(raw[32:])
		return input + "." + base64.RawURLEncoding.EncodeToString(raw[:])
	}
	signRS := func(payload any) string {
		input := joseInput(`{"alg":"RS256","kid":"floor"}`, payload)
		sum := sha256.Sum256([]byte(input))
		sig, err := rsa.SignPKCS1v15(rand.Reader, rs, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return input + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
	claims := func(r *http.Request) any {
		return map[string]any{"iss": "http://127.0.0.1", "sub": "user", "aud": r.Form.Get("client_id"), "exp": 2000000000, "iat": 1900000000, "nonce": "n", "auth_time": 1900000000}
	}
	write := func(w http.ResponseWriter, status int, v any) {
		body, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		w.Write(body)
	}
	tokens := func(sign func(any) string, access string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				panic(err)
			}
			out := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 3600}
			if sign != nil {
				out["id_token"] = sign(claims(r))
			}
			if access == "" {
				out["access_token"] = rand.Text()
			}
			write(w, http.StatusOK, out)
		}
	}
	document := make([]byte, 1500)
	for i := range document {
		document[i] = ' '
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/discovery", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(document)
	})
	mux.HandleFunc("/register", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		var in struct {
			Name         string   `json:"client_name"`
			RedirectURIs []string `json:"redirect_uris"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			panic(err)
		}
		secret := rand.Text() + rand.Text()
		sum := sha256.Sum256([]byte(secret))
		write(w, http.StatusCreated, map[string]any{
			"client_id": rand.Text(), "client_secret": secret, "client_name": in.Name, "redirect_uris": in.RedirectURIs,
			"client_secret_expires_at": int(sum[0]) * 0,
		})
	})
	mux.HandleFunc("/opaque", tokens(nil, ""))
	mux.HandleFunc("/es256", tokens(signES, ""))
	mux.HandleFunc("/rs256", tokens(signRS, ""))
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		write(w, http.StatusOK, map[string]any{"sub": r.Header.Get("Authorization")[7:12], "name": "Ada Lovelace", "email": "ada@example.com"})
	})
	mux.HandleFunc("/introspect", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			panic(err)
		}
		write(w, http.StatusOK, map[string]any{
			"active": r.Form.Get("token") != "", "scope": "openid profile email", "client_id": r.Form.Get("client_id"), "token_type": "Bearer",
			"sub": "user", "exp": 2000000000, "iat": 1900000000, "iss": "http://127.0.0.1", "aud": "http://127.0.0.1/userinfo",
		})
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			panic(err)
		}
		w.Header().Set("Location", r.Form.Get("redirect_uri")+"?code="+rand.Text()+"&state="+r.Form.Get("state"))
		w.WriteHeader(http.StatusFound)
	})
	return mux
}

func joseInput(header string, payload any) string {
	body, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(body)
}
