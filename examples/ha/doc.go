// Command ha runs a provider as three processes on one PostgreSQL database behind a
// load balancer, and restarts them one after the other without losing a request.
//
//	go run ./examples/ha
//
// Each file is a part of what one has on several machines: node.go is the process that
// every machine runs, with a health check and a way to stop that loses nothing;
// stores.go says where it keeps what; balancer.go stands for the load balancer and
// cluster.go for whatever starts the processes. README.md says what to look at.
package main
