package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// This file implements RFC 7636 (PKCE) with the S256 method only: "plain" gives
// no protection where the request can be read (RFC 9700 §2.1.1).

// CheckChallenge validates code_challenge and code_challenge_method of an
// authorization request and returns the challenge, empty if there is none.
func CheckChallenge(challenge, method string) (string, error) {
	if challenge == "" {
		if method != "" {
			return "", Errorf(CodeInvalidRequest, "code_challenge_method is present without code_challenge")
		}
		return "", nil
	}
	// RFC 7636 §4.3: a missing method means plain.
	if method != "S256" {
		return "", Errorf(CodeInvalidRequest, "code_challenge_method must be S256")
	}
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(challenge); err != nil || len(raw) != sha256.Size || len(challenge) != 43 {
		return "", Errorf(CodeInvalidRequest, "code_challenge is not the base64url form of a SHA-256 hash")
	}
	return challenge, nil
}

// CheckVerifier compares the code_verifier of a token request with the challenge
// of the authorization request. A challenge demands a verifier; a verifier
// without a challenge is refused, or PKCE could be stripped from the request
// unnoticed (RFC 9700 §2.1.1).
func CheckVerifier(challenge, verifier string) error {
	switch {
	case challenge == "" && verifier == "":
		return nil
	case challenge == "":
		return Errorf(CodeInvalidGrant, "code_verifier is present but the authorization request had no code_challenge")
	case verifier == "":
		return Errorf(CodeInvalidGrant, "code_verifier is missing")
	}
	if len(verifier) < 43 || len(verifier) > 128 { // RFC 7636 §4.1
		return Errorf(CodeInvalidGrant, "code_verifier must have 43 to 128 characters")
	}
	sum := sha256.Sum256([]byte(verifier))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(want), []byte(challenge)) != 1 {
		return Errorf(CodeInvalidGrant, "code_verifier does not match the code_challenge")
	}
	return nil
}
