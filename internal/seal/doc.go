// Package seal encrypts and authenticates small values that leave the process and
// come back: opaque tokens, codes, cookies, login transactions, private keys at
// rest. It is XChaCha20-Poly1305 under keys derived from the provider's secret,
// one key per purpose, so that a value sealed for one purpose never opens for
// another.
package seal
