// Package demoapp is a third-party application. It knows of its provider only
// what discovery says, and imports nothing of opkit: registration is one POST,
// the code flow is golang.org/x/oauth2, the implicit flow a script of its page.
package demoapp
