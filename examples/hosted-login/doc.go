// Command hosted-login is a provider whose tenant brings its own login page: page.html,
// with the widget Lock in it.
//
//	go run ./examples/hosted-login
//
// Lock speaks https only, so that the certificate is made when the program starts and
// browsers warn about it. Anybody may sign up. Mail is printed instead of sent.
//
// Everything is kept in memory.
package main
