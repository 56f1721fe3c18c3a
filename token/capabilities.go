package token

import (
	"reflect"
	"strings"
)

// IDTokenSigningAlgs lists the values of id_token_signed_response_alg that can be
// minted, for metadata and registration. unsigned is Config.InsecureUnsignedIDTokens.
func IDTokenSigningAlgs(unsigned bool) []string {
	algs := []string{algRS256, algES256, algHS256}
	if unsigned {
		algs = append(algs, algNone)
	}
	return algs
}

// UserInfoSigningAlgs lists the values of userinfo_signed_response_alg.
func UserInfoSigningAlgs() []string { return []string{algRS256, algES256, algHS256} }

// StandardClaims lists the claims about the user and the authentication that
// tokens and userinfo can carry, for metadata. It is read off the types that are
// sent, so that it cannot promise another.
func StandardClaims() []string {
	names := []string{"sub"}
	claims := reflect.TypeFor[standardClaims]()
	for i := range claims.NumField() {
		name, _, _ := strings.Cut(claims.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return append(names, "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid")
}
