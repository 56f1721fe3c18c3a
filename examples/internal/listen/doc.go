// Package listen opens the addresses that examples serve on, and says in words what to
// do about one that cannot be had.
package listen
