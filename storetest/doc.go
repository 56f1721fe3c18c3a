// Package storetest is the conformance kit for the interfaces of package store.
package storetest
