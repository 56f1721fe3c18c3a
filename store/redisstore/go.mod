module github.com/opkit/opkit/store/redisstore

go 1.26.0

replace github.com/opkit/opkit => ../..

require (
	github.com/go-jose/go-jose/v4 v4.1.8
	github.com/opkit/opkit v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)
