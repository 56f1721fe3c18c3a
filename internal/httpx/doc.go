// Package httpx holds what every handler needs around the protocol: bounded JSON
// bodies, JSON answers, prepared documents, CORS, client addresses. It knows no
// OAuth error: callers map the [BodyError] that a reader returns.
package httpx
